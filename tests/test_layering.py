import ast
import configparser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "projects" / "DetNAS" / "detnas"
SPNAS = ROOT / "projects" / "SPNAS" / "spnas"
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
    *("spnas", "released", "find_detector", "train_net", "search_net"),
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
    found = []
    for module in sorted(imported_modules(source, path)):
        root, *rest = module.split(".")
        if root in SCRIPTS:
            found.append(f"{path} imports the script {module}")
        elif root == "detnas":
            layer = layer_of(rest[0]) if rest else None
            if layer is None:
                found.append(f"{path} imports {module}, which is in no layer")
            elif own is None or layer > own:
                found.append(f"{path} imports {module}, which is in a later layer")
    return found


def framework_imports(source, path):
    return sorted(m for m in imported_modules(source, path) if m.split(".")[0] in FRAMEWORK)


def test_every_file_of_the_package_is_in_a_layer():
    assert [f for f in FILES if layer_of(Path(f).parts[0].removesuffix(".py")) is None] == []


@pytest.mark.parametrize("path", FILES)
def test_no_arrow_runs_back(path):
    assert violations((PACKAGE / path).read_text(), path) == []


@pytest.mark.parametrize("path", WITHOUT_TORCH)
def test_the_pure_modules_import_no_framework(path):
    assert framework_imports((PACKAGE / path).read_text(), path) == []


#: packages whose modules only compat.py may change
FOREIGN = {*FRAMEWORK, "yaml", "yacs", "numpy", "PIL", "pycocotools"}


def patches(source):
    """What a file does to modules of others, to how Python imports, or with their source."""
    tree, modules, found = ast.parse(source), set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] in FOREIGN:
            modules |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Store):
            root = node
            while isinstance(root, (ast.Attribute, ast.Subscript)):
                root = root.value
            found += [ast.unparse(node)] * (isinstance(root, ast.Name) and root.id in modules)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "exec":
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Attribute) and node.attr == "meta_path":
            found.append(ast.unparse(node))
    return found


def test_modules_of_others_are_changed_in_one_file_alone():
    sources = {path: path.read_text() for path in (ROOT / "projects").rglob("*.py")}
    assert [path.name for path, source in sources.items() if patches(source)] == ["compat.py"]


@pytest.mark.parametrize(
    "source",
    [
        "import sys\nsys.meta_path.insert(0, finder)",
        "exec(compile(source, file, 'exec'), names)",
        "import yaml\nyaml.SafeLoader.yaml_constructors['date'] = None",
        "from detectron2.data import detection_utils as utils\nold, utils.read_image = utils.read_image, read",
    ],
)
def test_the_check_finds_a_patch(source):
    assert len(patches(source)) == 1


#: spnas, which stands on detnas; a file of it imports from itself and from those before it
SPNAS_ORDER = """code morphs zoo config fit space parallel_stage backbone builders torchvision inheritance weights
    costs searcher evaluator reignite trained_search serial_search parallel_search""".split()


def test_spnas_stands_on_detnas_and_has_no_circle():
    assert sorted(p.stem for p in SPNAS.glob("*.py") if p.stem != "__init__") == sorted(SPNAS_ORDER)
    for place, name in enumerate(SPNAS_ORDER):
        source = (SPNAS / f"{name}.py").read_text()
        assert relative_imports(SPNAS / f"{name}.py") <= set(SPNAS_ORDER[:place]), name
        roots = {module.split(".")[0] for module in imported_modules(source, f"{name}.py")}
        assert not roots & (SCRIPTS - {"spnas"})
        if name in ("code", "morphs", "zoo", "config", "fit", "space", "searcher"):
            assert not roots & FRAMEWORK


#: find_detector, in the order in which it works; a file of it imports from itself and from those before it
FIND_DETECTOR_ORDER = "steps splits data recipe plan configs measure decide run outcome __main__".split()


def relative_imports(path):
    """The modules of its own package that a file imports."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if getattr(node, "level", 0)]
    return {module for n in nodes for module in ([n.module] if n.module else [a.name for a in n.names])}


def test_find_detector_stands_on_detnas_and_has_no_circle():
    assert sorted(p.stem for p in FIND_DETECTOR.glob("*.py") if p.stem != "__init__") == sorted(FIND_DETECTOR_ORDER)
    for place, name in enumerate(FIND_DETECTOR_ORDER):
        path = FIND_DETECTOR / f"{name}.py"
        assert relative_imports(path) <= set(FIND_DETECTOR_ORDER[:place]), name
        roots = {module.split(".")[0] for module in imported_modules(path.read_text(), f"{name}.py")}
        assert not roots & (SCRIPTS - {"spnas"}), name


@pytest.mark.parametrize("path", [*SPNAS.glob("*.py"), *FIND_DETECTOR.glob("*.py")], ids=lambda path: path.name)
def test_no_file_above_the_package_has_more_than_250_lines(path):
    assert len(path.read_text().splitlines()) <= 250


@pytest.mark.parametrize("path", ["__init__.py", *FILES])
def test_no_file_of_the_package_has_more_than_250_lines(path):
    assert len((PACKAGE / path).read_text().splitlines()) <= 250


@pytest.mark.parametrize(
    "path, source",
    [
        ("space.py", "from detnas.modeling.backbone import DetNASNet"),
        ("modeling/backbone.py", "import detnas.cost.table"),
        ("modeling/backbone.py", "from ..search import bn"),
        ("cost/table.py", "def f():\n    from ..launch.setup import launch"),
        ("training/trainer.py", "from detnas import search"),
        ("training/trainer.py", "from detnas import CostTable"),
        ("training/trainer.py", "import detnas"),
        ("search/loop.py", "if True:\n    import detnas.report as report"),
        ("search/loop.py", "import train_net"),
        ("search/loop.py", "from tools.convert import main"),
        ("elsewhere.py", "from detnas.space import OPS"),
    ],
)
def test_the_check_finds_an_arrow_that_runs_back(path, source):
    assert len(violations(source, path)) == 1


#: folders -> lines of Python that they have at most together; a change that adds some takes others away, and where
#: fewer are left the number falls
BUDGETS = {
    ("projects/DetNAS/detnas",): 9600,
    ("projects/SPNAS/spnas",): 1900,
    ("projects/FindDetector/find_detector",): 1600,
    ("projects/Released/released",): 450,
    ("tools", "demo", "benchmarks"): 2600,
    ("tests",): 15550,
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
    assert listed == {".".join(folder.relative_to(ROOT / "projects").parts[1:]) for folder in folders}
