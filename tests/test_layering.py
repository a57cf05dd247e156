import ast
import configparser
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "projects" / "DetNAS" / "detnas"
SPNAS = ROOT / "projects" / "SPNAS" / "spnas"
PRETRAINED = ROOT / "projects" / "Pretrained" / "pretrained"
ELASTICDET = ROOT / "projects" / "ElasticDet" / "elasticdet"
FIND_DETECTOR = ROOT / "projects" / "FindDetector" / "find_detector"

#: Each layer may import from itself and from those before it.
LAYERS = [
    {"choices", "space", "zoo", "errors", "files", "compat"},
    {"config"},
    {"command_line"},
    {"modeling"},
    {"cost"},
    {"data"},
    {"launch"},
    {"batch_norm"},
    {"evaluation"},
    {"training"},
    {"export"},
    {"search"},
    {"report"},
    {"commands"},
]
#: Stand above the package: nothing in it imports them.
SCRIPTS = {
    *("spnas", "released", "pretrained", "elasticdet", "find_detector", "train_net", "search_net"),
    *("tools", "benchmarks", "demo", "experiments", "tests"),
}
#: Pure Python, so that they are read, run and tested without the framework.
WITHOUT_TORCH = [
    *("choices.py", "space.py", "zoo.py", "errors.py", "files.py", "command_line.py"),
    *("config/keys.py", "config/settings.py", "config/constraint.py"),
    *("search/evolution.py", "search/log.py", "search/loop.py", "search/pareto.py"),
    *("search/proposals.py", "search/surrogate.py", "search/gaussian_process.py"),
]
FRAMEWORK = {"torch", "torchvision", "detectron2", "fvcore"}

# The package's table of contents imports from all layers.
FILES = sorted(str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def imported_modules(source, path):
    """Dotted names of all that a file imports, wherever in the file, relative imports resolved."""
    package = ["detnas", *Path(path).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            # "from detnas import X" names a module or, through the table of contents, anything.
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "detnas" else {module}
    return names


def layer_of(name):
    return next((i for i, layer in enumerate(LAYERS) if name in layer), None)


def violations(source, path):
    """What a file of the package imports against the arrows."""
    own = layer_of(Path(path).parts[0].removesuffix(".py"))
    found = [f"{path} is in no layer"] * (own is None)
    for module in sorted(imported_modules(source, path)):
        root, *rest = module.split(".")
        if root in SCRIPTS:
            found.append(f"{path} imports the script {module}")
        elif root == "detnas":
            layer = layer_of(rest[0]) if rest else None
            if layer is None:
                found.append(f"{path} imports {module}, which is in no layer")
            elif own is not None and layer > own:
                found.append(f"{path} imports {module}, which is in a later layer")
    return found


def test_no_arrow_runs_back():
    assert [found for path in FILES for found in violations((PACKAGE / path).read_text(), path)] == []


@pytest.mark.parametrize("path", WITHOUT_TORCH)
def test_the_pure_modules_import_no_framework(path):
    modules = imported_modules((PACKAGE / path).read_text(), path)
    assert [module for module in modules if module.split(".")[0] in FRAMEWORK] == []


#: packages whose modules only compat.py may change
FOREIGN = {*FRAMEWORK, "yaml", "yacs", "numpy", "PIL", "pycocotools"}


def root_of(node):
    """The name that an attribute or item belongs to, if it is one."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return getattr(node, "id", None)


def patches(source):
    """What a file does to modules of others, to how Python imports, or with their source."""
    nodes = list(ast.walk(ast.parse(source)))
    imports = [alias for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules = {alias.asname or alias.name.split(".")[0] for alias in imports}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] in FOREIGN:
            modules |= {alias.asname or alias.name for alias in node.names}
    stored = [n for n in nodes if isinstance(n, (ast.Attribute, ast.Subscript)) and isinstance(n.ctx, ast.Store)]
    return [node for node in stored if root_of(node) in modules] + re.findall(r"\bexec\(|\.meta_path\b", source)


def test_modules_of_others_are_changed_in_one_file_alone():
    sources = {path: path.read_text() for path in (ROOT / "projects").rglob("*.py")}
    # The other one sets sys.excepthook, which is there for it.
    assert {path.name for path, source in sources.items() if patches(source)} == {"compat.py", "command_line.py"}


#: the packages that stand on detnas; a file of each imports from itself and from those before it
ORDERS = {
    SPNAS: """code morphs zoo config fit space parallel_stage backbone builders inheritance weights
        costs searcher evaluator reignite trained_search serial_search parallel_search""".split(),
    PRETRAINED: "config parts weights backbone".split(),
    ELASTICDET: "config space partial family evaluator method".split(),
    # In the order in which it works.
    FIND_DETECTOR: """steps data drawing recipe together starts race resampling detectors plan configs timed decide run
        outcome __main__""".split(),
}
PURE = [SPNAS / f"{name}.py" for name in ("code", "morphs", "zoo", "config", "fit", "space", "searcher")]
PURE += [ELASTICDET / f"{name}.py" for name in ("config", "space")]


def relative_imports(path):
    """The modules of its own package that a file imports."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if getattr(node, "level", 0)]
    return {module for n in nodes for module in ([n.module] if n.module else [a.name for a in n.names])}


@pytest.mark.parametrize("package", ORDERS, ids=lambda package: package.name)
def test_what_stands_on_detnas_has_no_circle(package):
    order = ORDERS[package]
    assert sorted(p.stem for p in package.glob("*.py") if p.stem != "__init__") == sorted(order)
    for place, path in enumerate(package / f"{name}.py" for name in order):
        assert relative_imports(path) <= set(order[:place]), path
        roots = {module.split(".")[0] for module in imported_modules(path.read_text(), path.name)}
        below = {package.name, *(["pretrained", "elasticdet"] if package == FIND_DETECTOR else [])}
        assert not roots & (SCRIPTS - below | (FRAMEWORK if path in PURE else set())), path


def test_no_file_of_a_package_has_more_than_250_lines():
    files = list((ROOT / "projects").rglob("*.py"))
    assert len(files) > 100 and [path for path in files if len(path.read_text().splitlines()) > 250] == []


@pytest.mark.parametrize("path, source", [
    ("modeling/backbone.py", "import detnas.cost.table"),
    ("modeling/backbone.py", "from ..search import bn"),
    ("training/trainer.py", "import detnas"),
    ("search/loop.py", "if True:\n    import detnas.report as report"),
    ("search/loop.py", "from tools.convert import main"),
    ("elsewhere.py", "from detnas.space import OPS"),
])
def test_the_check_finds_an_arrow_that_runs_back(path, source):
    assert len(violations(source, path)) == 1


#: folders -> lines of Python that they have at most together; a change that adds some takes others away, and where
#: fewer are left the number falls
BUDGETS = {
    ("projects/DetNAS/detnas",): 9894,
    ("projects/SPNAS/spnas",): 1778,
    ("projects/FindDetector/find_detector",): 2168,
    ("projects/Released/released",): 450,
    ("projects/Pretrained/pretrained",): 435,
    ("projects/ElasticDet/elasticdet",): 562,
    ("tools", "demo", "benchmarks"): 2624,
    ("tests",): 15485,
}


@pytest.mark.parametrize("folders", BUDGETS, ids=" and ".join)
def test_the_sum_of_lines_stays_within_its_budget(folders):
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    assert sum(len(file.read_text().splitlines()) for file in files) <= BUDGETS[folders]


def test_every_package_is_in_the_wheel():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = {init.parent for init in (ROOT / "projects").rglob("__init__.py")}
    packages = {".".join(folder.relative_to(ROOT / "projects").parts[1:]) for folder in folders}
    assert listed == {*packages, "detnas.configs"}
    commands = [line.split(" = ") for line in config["options.entry_points"]["console_scripts"].split("\n") if line]
    for name, (module, function) in ((name, place.split(":")) for name, place in commands):
        assert callable(getattr(importlib.import_module(module), function)), name
