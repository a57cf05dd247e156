"""Randomly damaged files and odd values that a program must report; DETNAS_FUZZ is the number of cases."""

import json
import os

from detnas.errors import UserError

CASES = int(os.environ.get("DETNAS_FUZZ", 200))
#: values in place of others
VALUES = [
    None, [], {}, "", "x", 1e999, -1e999, float("nan"), -1, 0, 10 ** 400, True, [[]], {"a": 1}, ["x"], "1" * 50, 1.5,
    [None], "$\\frac{$", "('a',)", "[1", "1e999", "(0, -5)", "../..",
]
CONTENTS = [b"", b"[]\n", b"null\n", b"{}\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"1\n", b'"a"\n', b"\n\n"]


def places(value, place=()):
    """Paths of keys and indices to everything in a JSON value."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*place, key))


def replaced(rng, value):
    """A JSON value in which one place is replaced or removed."""
    *above, last = rng.choice([place for place in places(value) if place])
    holder = value
    for key in above:
        holder = holder[key]
    if rng.random() < 0.2:
        del holder[last]
    else:
        holder[last] = rng.choice(VALUES)
    return value


def damaged(rng, data, of_json=True):
    """A file's content, cut off or with other bytes or, if each line is JSON, with other lines or values."""
    kind, lines = rng.randrange(6 if of_json else 3), data.splitlines()
    number = 0 if rng.random() < 0.4 else rng.randrange(len(lines))
    if kind == 0:
        return data[:rng.randrange(len(data))]
    if kind == 1:
        content = bytearray(data)
        for _ in range(rng.randrange(1, 20)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        return bytes(content)
    if kind == 2:
        return rng.choice(CONTENTS)
    if kind == 3:
        lines.insert(number, rng.choice([*CONTENTS, rng.choice(lines)]).rstrip())
    else:
        lines[number] = json.dumps(replaced(rng, json.loads(lines[number]))).encode()
    return b"\n".join(lines) + b"\n"


def end_well(capsys, case, function, *args):
    """Call a function, which may raise UserError, or exit with one sentence and code 2."""
    capsys.readouterr()
    try:
        function(*args)
    except UserError:
        pass
    except SystemExit as e:
        assert e.code == 2 and capsys.readouterr().err.startswith("error: "), case
    except Exception as e:
        raise AssertionError(f"case {case}: {type(e).__name__}: {e}") from e
