"""GitHub's runner, as far as our workflows need one: each step's shell, run here in its order.

It knows no expressions. Each one that a workflow has must be given with its value, word for word,
so a workflow that changes is noticed. Of actions it plays those that carry files between jobs.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

PATIENCE_S = 900


class StepFailed(Exception):
    """A step ended with another status than 0; those after it were not run."""


@dataclass(kw_only=True)
class Runner:
    """One run of a workflow in one checkout."""

    workflow: Mapping[str, Any]
    checkout: Path
    folder: Path
    """For artifacts, and for what the steps hand to each other."""
    environment: Mapping[str, str]
    values: dict[str, str]
    """Expression -> its value, for all jobs."""
    replaced: Mapping[str, str] = field(default_factory=dict)
    """Words of the workflow -> what stands for them here, such as the registry's host."""
    ran: list[str] = field(default_factory=list)
    """`job: step`, in the order of their runs."""
    look: Callable[[str], None] = lambda _step: None
    """Called before each step with its name."""

    @classmethod
    def read(cls, path: Path, **rest: Any) -> "Runner":
        return cls(workflow=yaml.safe_load(path.read_text()), **rest)

    @property
    def summary(self) -> Path:
        return self.folder / "summary.md"

    def run(self) -> None:
        """All jobs in their order, each entry of a matrix for itself. Raises StepFailed."""
        for name, job in self.workflow["jobs"].items():
            for entry in self._entries(job):
                outputs = self._job(name, job, entry)
                self.values |= {f"needs.{name}.outputs.{key}": text for key, text in outputs}

    def _entries(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        if "if" in job and not self._holds(job["if"], self.values):
            return []
        if "strategy" not in job:
            return [{}]
        found = re.fullmatch(r"\$\{\{ fromJSON\((.+)\) \}\}", job["strategy"]["matrix"])
        assert found, job["strategy"]
        entries: list[dict[str, Any]] = json.loads(self.values[found[1]])["include"]
        return entries

    def _job(
        self, name: str, job: Mapping[str, Any], entry: Mapping[str, Any]
    ) -> Iterator[tuple[str, str]]:
        values = {**self.values, **{f"matrix.{key}": str(value) for key, value in entry.items()}}
        variables: dict[str, str] = {}
        for written in (self.workflow.get("env", {}), job.get("env", {})):
            variables |= {key: self._text(text, values) for key, text in written.items()}
        for step in job["steps"]:
            own = {key: self._text(text, values) for key, text in step.get("env", {}).items()}
            known = {**values, **{f"env.{key}": text for key, text in variables.items()}}
            if "if" in step and not self._holds(step["if"], known):
                continue
            self.look(step["name"])
            self.ran.append(f"{name}: {step['name']}")
            if "uses" in step:
                self._action(step["uses"].split("@")[0], step.get("with", {}), values)
                continue
            for key, text in self._shell(step["run"], {**variables, **own}):
                values[f"steps.{step.get('id')}.outputs.{key}"] = text
        return iter(
            [(key, self._text(text, values)) for key, text in job.get("outputs", {}).items()]
        )

    def _shell(self, script: str, variables: Mapping[str, str]) -> list[tuple[str, str]]:
        """As the runner calls bash; gives the outputs that the step has left."""
        assert "${{" not in script
        outputs = self.folder / "outputs"
        outputs.write_text("")
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=self.checkout,
            env={
                **self.environment,
                **variables,
                "GITHUB_OUTPUT": str(outputs),
                "GITHUB_STEP_SUMMARY": str(self.summary),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode:
            raise StepFailed(f"{script}: {done.returncode}\n{done.stdout}{done.stderr}")
        lines = outputs.read_text().splitlines()
        return [(key, text) for key, _, text in (line.partition("=") for line in lines)]

    def _action(self, name: str, given: Mapping[str, Any], values: Mapping[str, str]) -> None:
        match name:
            case "actions/upload-artifact":
                place = self.folder / "artifacts" / self._text(given["name"], values)
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.checkout / given["path"], place)
            case "actions/download-artifact":
                for place in (self.folder / "artifacts").glob(given["pattern"]):
                    shutil.copytree(place, self.checkout / given["path"] / place.name)
            case "actions/checkout" | "docker/login-action":
                pass  # the checkout is there, and a registry on loopback asks for no login
            case _:
                raise AssertionError(f"nobody has said what {name} does")

    def _text(self, text: object, values: Mapping[str, str]) -> str:
        """A value of the workflow, with its expressions replaced."""
        found = re.sub(r"\$\{\{ (.+?) \}\}", lambda match: values[match[1]], str(text))
        for word, here in self.replaced.items():
            found = found.replace(word, here)
        return found

    def _holds(self, condition: str, values: Mapping[str, str]) -> bool:
        found = re.fullmatch(r"([\w.]+) != '(\w*)'", condition)
        assert found, condition
        return values[found[1]] != found[2]
