import random, time
from tests.flow.hub_models import *
from tests.flow.test_hub_push import bodies, words
from tests.fakes.hub import FakeHub
from tests.fakes.registry import FakeRegistry
from tests.flow.conftest import *
T="model-00003-of-00003.safetensors"
def test_kills(make_project):
    rnd = random.Random(6)
    with FakeHub(token=TOKEN) as hub, FakeRegistry() as registry:
        calm = make_project("calm")
        r = serve(hub, calm)
        r.commit({SECOND: big_tensors(2, small=34<<20), T: big_tensors(3, t=35<<20), INDEX: index_of(big=FIRST, small=SECOND, t=T)})
        digest = push(calm, registry, name="calm/models")["digest"]
        for n in range(3):
            reg = FakeRegistry()
            with reg:
                project = make_project(f"p{n}")
                use(hub, project)
                kills = rnd.randint(1, 3)
                for _ in range(kills):
                    process = project.start(*words(reg))
                    a = rnd.randint(1 << 20, 60 << 20)
                    mark = len(reg.requests)
                    start = sum(x.received for x in reg.requests)
                    while process.poll() is None:
                        if sum(x.received for x in reg.requests) - start > a: break
                        time.sleep(0.002)
                    process.kill() if process.poll() is None else None
                    process.communicate()
                    time.sleep(0.2)
                    print("---KILLED at", a)
                    for x in reg.requests[mark:]: print(x.method, x.path[-12:], x.received)
                    print({k[-12:]: u.size for k,u in reg.uploads.items()})
                    for f in (project.cache/"notes").glob("*"): print("note", f.read_text()[:300] if 0 else f.name[:8], f.stat().st_size)
                mark = len(reg.requests)
                d = push(project, reg)
                print("---LAST")
                for x in reg.requests[mark:]: print(x.method, x.path[-12:], x.received)
                print("KILLS", n, kills, "again %.1f%%" % (100*(bodies(reg)/(102<<20)-1)), "hub", given(hub))
