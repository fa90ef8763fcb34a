"""Reader of pickles that hold PyTorch networks, which runs nothing that is in them.

A small machine interprets the opcodes of plain data; the names that a file asks for are looked up in a table of
inert stand-ins, and no module is ever imported for them. Python's unpickler with a strict find_class would not do:
it allocates what a length or a memo index claims, and to hash a deeply nested key crashes the interpreter.
"""

import dataclasses
import io
import math
import pickletools
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semireal.errors import UserError
from semireal.text import shown

Array = NDArray[Any]

MOST_OPCODES = 10**6  # a network pickle of 1024x1024 pixels has some 10**5
MOST_CALLS = 20_000  # of functions, each of which costs up to some hundred opcodes; that pickle has 5000
MOST_ENTRIES = 256  # of an object
MOST_NAMES = 32  # of a set that a function makes
MOST_LETTERS = 200  # of a name
HEADER_BYTES = 4096  # before the numbers of a storage
HEADER_OPCODES = 50  # of each of its five pickles

DAMAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError),
    *(AssertionError, EOFError, MemoryError, struct.error),
)
DTYPES = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch DoubleStorage": np.dtype("<f8"),
}
SCALARS = {"f8": "<d", "f4": "<f", "i8": "<q", "i4": "<i"}  # types of numpy numbers, as struct writes them
ARRAYS = "has arrays of numpy, as networks of StyleGAN3 -T and -R do. Give one of StyleGAN2 (--cfg=stylegan2)"
HINTS = {
    "dnnlib.tflib.network Network": "is of the TensorFlow era. Convert it with legacy.py of stylegan2-ada-pytorch",
    "numpy.core.multiarray _reconstruct": ARRAYS,
    "numpy._core.multiarray _reconstruct": ARRAYS,
}
LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
FRESH: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
AGAIN = "Fetch the file again"
TRUST = "refused, and nothing was run. Get the file from a source that you trust"


def load(content: bytes) -> Any:
    """Give what a network pickle holds: plain data, Objects and arrays.

    UserError says what is refused in it; a damaged one may also raise any of DAMAGE.
    """
    stream = io.BytesIO(content)
    root = _interpret(stream, FUNCTIONS, MOST_OPCODES)
    if stream.read(1):
        raise UserError(f"has bytes after its end. {AGAIN}")
    return root


@dataclasses.dataclass(frozen=True, eq=False)
class _Function:
    """Stand-in for a name of the table; only the machine calls it."""

    call: Callable[..., Any]


@dataclasses.dataclass(frozen=True, eq=False)
class _Scalar:
    """Stand-in for a numpy type: its format for struct."""

    format: str


@dataclasses.dataclass(frozen=True, eq=False)
class _Storage:
    """Stand-in for a storage: its numbers [count]."""

    numbers: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Object:
    """Stand-in for an object that carries its source text: the name of its class and its attributes."""

    class_name: str
    state: dict[str, Any]

    def entries(self, kind: str) -> dict[str, Any]:
        """What is set of `_modules`, `_parameters` or `_buffers`."""
        found = self.state.get(kind)
        if not isinstance(found, dict) or len(found) > MOST_ENTRIES:
            raise UserError(f"{kind} of a {shown(self.class_name)} is {shown(found)} or too long. {AGAIN}")
        return {name: value for name, value in found.items() if value is not None}


def _interpret(stream: io.BytesIO, names: dict[str, Any], most: int) -> Any:
    """Interpret a pickle of at most so many opcodes, in which `names` are known."""
    machine = _Machine(names)
    for count, (opcode, arg, _) in enumerate(pickletools.genops(stream)):
        if count >= most:
            raise UserError(f"has more than {most} opcodes, and no network pickle does. {AGAIN}")
        machine.step(opcode.name, arg)
    return machine.stack.pop()


class _Machine:
    """The stack of an unpickler that knows plain data and functions of a table, and nothing else.

    Dicts and sets take short strings only: the time to hash a nested tuple is exponential in its depth.
    """

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.calls = 0

    def step(self, opcode: str, arg: Any) -> None:
        """Do what one opcode says; UserError for one that no network pickle has."""
        stack = self.stack
        if opcode in LITERALS:
            return stack.append(arg)
        if opcode in FRESH:
            return stack.append(FRESH[opcode]())
        match opcode:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "BINPUT" | "LONG_BINPUT":
                self.memo[arg] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[arg])
            case "MARK":
                self.marks.append(stack)
                self.stack = []
            case "TUPLE":
                items = tuple(self.since_mark())
                self.stack.append(items)
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self.last(int(opcode[-1]))))
            case "APPEND" | "APPENDS":
                self.extend(list, self.last(1) if opcode == "APPEND" else self.since_mark())
            case "SETITEM" | "SETITEMS":
                self.extend(dict, self.last(2) if opcode == "SETITEM" else self.since_mark())
            case "ADDITEMS":
                self.extend(set, self.since_mark())
            case "GLOBAL":
                stack.append(self.find(arg))
            case "STACK_GLOBAL":
                stack.append(self.find(" ".join(map(_name, self.last(2)))))
            case "REDUCE" | "NEWOBJ":
                function, args = self.last(2)
                if not isinstance(function, _Function) or type(args) is not tuple:
                    raise UserError(f"calls {shown(function)}: {TRUST}")
                self.calls += 1
                if self.calls > MOST_CALLS:
                    raise UserError(f"has more than {MOST_CALLS} calls, and no network pickle does. {AGAIN}")
                stack.append(function.call(*args))
            case "BUILD":
                (state,) = self.last(1)
                _set_state(stack[-1], state)
            case "BINPERSID" if self.names is DTYPES:
                pass  # the id stays on the stack: it is all that we want
            case _:
                raise UserError(f"has the opcode {opcode}, and no network pickle does. {AGAIN}")
        return None

    def last(self, count: int) -> list[Any]:
        """Take the last items off the stack."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def since_mark(self) -> list[Any]:
        """Take all items since the last mark off the stack."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def extend(self, kind: type, items: list[Any]) -> None:
        """Add items to the list, dict or set on top of the stack."""
        target = self.stack[-1]
        if kind is list and type(target) is list:
            target.extend(items)
        elif kind is set and type(target) is set:
            target.update(map(_name, items))
        elif kind is dict and type(target) is dict:
            target.update(zip(map(_name, items[::2]), items[1::2], strict=True))
        else:
            raise UserError(f"adds to {shown(target)} as to a {kind.__name__}. {AGAIN}")

    def find(self, name: str) -> Any:
        """What "module name" stands for, if just that is in the table."""
        if name in self.names:
            return self.names[name]
        if name in HINTS:
            raise UserError(HINTS[name])
        asked = shown(name.replace(" ", "."))
        if self.names is DTYPES:
            raise UserError(f"has numbers of type {asked}, need FloatStorage. Save it as float32 where it was made")
        raise UserError(f"asks for {asked}: {TRUST}")


def _name(value: object) -> str:
    if type(value) is not str or len(value) > MOST_LETTERS:
        raise UserError(f"has {shown(value)} for a name, need a short string. {AGAIN}")
    return value


def _counts(value: object) -> tuple[int, ...]:
    if type(value) is not tuple or len(value) > 8 or not all(type(n) is int and n >= 0 for n in value):
        raise UserError(f"has a tensor whose offset, size or stride is not made of counts. {AGAIN}")
    return value


def _make_object(meta: object) -> Object:
    match meta:
        case {"type": "class", "version": 6, "module_src": str(), "class_name": str(name), "state": dict(state)}:
            return Object(name, state)
        case {"type": "class", "version": int(version), "class_name": str()} if version != 6:
            raise UserError(f"has objects of version {shown(version)}, need 6. Save it with the public release")
    raise UserError(f"has an object without type, version, source, class or state. {AGAIN}")


def _make_parameter(tensor: object, *_: object) -> Array:
    if not isinstance(tensor, np.ndarray):
        raise UserError(f"has {shown(tensor)} as a parameter, need a tensor. {AGAIN}")
    return tensor


def _make_tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> Array:
    """Give a view that lies within the storage and has no more elements than that."""
    (first,), shape, steps = _counts((offset,)), _counts(size), _counts(stride)
    if not isinstance(storage, _Storage) or len(shape) != len(steps):
        raise UserError(f"has a tensor without storage, or with unequal size and stride. {AGAIN}")
    numbers = storage.numbers
    last = first + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    if math.prod(shape) > len(numbers) or (0 not in shape and last >= len(numbers)):
        raise UserError(f"has a tensor {shown(str(shape))} that reaches past its storage. {AGAIN}")
    strides = [step * numbers.itemsize for step in steps]
    return np.lib.stride_tricks.as_strided(numbers[first:], shape, strides, writeable=False)


def _make_storage(data: object) -> _Storage:
    """Read PyTorch's older format; the numbers are a view of its bytes."""
    if type(data) is not bytes:
        raise UserError(f"has {shown(data)} as a storage, need bytes. {AGAIN}")
    stream = io.BytesIO(data[:HEADER_BYTES])
    match [_interpret(stream, DTYPES, HEADER_OPCODES) for _ in range(5)]:
        case [
            0x1950A86A20F9469CFC6C,
            1001,
            {"little_endian": True},
            ("storage", np.dtype() as dtype, str(key), str(), int(count), None),
            [str(listed)],
        ] if key == listed and count >= 0:
            start = stream.tell() + 8
        case _:
            raise UserError(f"has a storage of another layout. {AGAIN}")
    stored = int.from_bytes(data[start - 8 : start], "little", signed=True)
    if stored != count or len(data) - start != count * dtype.itemsize:
        raise UserError(f"has a storage with other than the {shown(count)} numbers it claims. {AGAIN}")
    return _Storage(np.frombuffer(data, dtype, count, start))


def _make_dict() -> dict[str, Any]:
    return {}


def _make_set(items: object = ()) -> set[str]:
    if not isinstance(items, list | tuple) or len(items) > MOST_NAMES:
        raise UserError(f"has a set of {shown(items)}, or one too long. {AGAIN}")
    return set(map(_name, items))


def _make_scalar_type(code: object, *_: object) -> _Scalar:
    if type(code) is not str or code not in SCALARS:
        raise UserError(f"has numpy numbers of type {shown(code)}, need one of {', '.join(SCALARS)}. {AGAIN}")
    return _Scalar(SCALARS[code])


def _make_scalar(kind: object, data: object) -> float:
    if not isinstance(kind, _Scalar) or type(data) is not bytes:
        raise UserError(f"has a numpy number without type or bytes. {AGAIN}")
    number: float = struct.unpack(kind.format, data)[0]
    return number


def _set_state(target: object, state: object) -> None:
    """Take the only state that there may be, the byte order of a numpy type: (version, order, ...)."""
    if not isinstance(target, _Scalar) or type(state) is not tuple or state[1] not in ("<", "|", "="):
        raise UserError(f"sets the state of {shown(target)}: {TRUST}")


FUNCTIONS = {
    "torch_utils.persistence _reconstruct_persistent_obj": _Function(_make_object),
    "torch._utils _rebuild_parameter": _Function(_make_parameter),
    "torch._utils _rebuild_tensor_v2": _Function(_make_tensor),
    "torch.storage _load_from_bytes": _Function(_make_storage),
    "collections OrderedDict": _Function(_make_dict),
    "dnnlib.util EasyDict": _Function(_make_dict),
    "builtins set": _Function(_make_set),
    "__builtin__ set": _Function(_make_set),
    "numpy dtype": _Function(_make_scalar_type),
    "numpy.core.multiarray scalar": _Function(_make_scalar),
    "numpy._core.multiarray scalar": _Function(_make_scalar),
}
