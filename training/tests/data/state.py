"""Writes state.pth: what `torch.save` writes of a state dictionary (format of PyTorch 1.6 and later), with the standard library alone.

    python3 state.py
"""
import collections
import io
import pickle
import struct
import sys
import types
import zipfile

torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
sys.modules.update({"torch": torch, "torch._utils": utils})


def function(module, name):
    def made(*_):
        raise NotImplementedError

    made.__module__, made.__qualname__, made.__name__ = module.__name__, name, name
    setattr(module, name, made)
    return made


TENSOR, PARAMETER = function(utils, "_rebuild_tensor_v2"), function(utils, "_rebuild_parameter")
CLASSES = {}
for name in ("FloatStorage", "DoubleStorage", "LongStorage"):
    CLASSES[name] = type(name, (), {"__module__": "torch", "__qualname__": name})
    setattr(torch, name, CLASSES[name])


class Storage:
    def __init__(self, kind, key, count):
        self.kind, self.key, self.count = kind, key, count


class Call:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return ("storage", CLASSES[value.kind], value.key, "cpu", value.count)
        return None


def tensor(storage, offset, shape, strides):
    return Call(TENSOR, storage, offset, shape, strides, False, collections.OrderedDict())


floats, doubles, longs = Storage("FloatStorage", "0", 6), Storage("DoubleStorage", "1", 3), Storage("LongStorage", "2", 1)
state = collections.OrderedDict()
state["conv1.weight"] = tensor(floats, 0, (2, 3), (3, 1))
state["turned"] = tensor(floats, 0, (3, 2), (1, 3))
state["linear.bias"] = Call(PARAMETER, tensor(doubles, 1, (2,), (1,)), True, collections.OrderedDict())
state["bn1.num_batches_tracked"] = tensor(longs, 0, (), ())
pickled = io.BytesIO()
Pickler(pickled, 2).dump({"epoch": 7, "best": 91.5, "state_dict": state})
with zipfile.ZipFile("state.pth", "w", zipfile.ZIP_STORED) as archive:

    def add(name, content):
        archive.writestr(zipfile.ZipInfo("state/" + name, (1980, 1, 1, 0, 0, 0)), content)

    add("data.pkl", pickled.getvalue())
    add("data/0", struct.pack("<6f", 1, 2, 3, 4, 5, 6.5))
    add("data/1", struct.pack("<3d", 99, -0.25, 8))
    add("data/2", struct.pack("<q", 4))
    add("version", "3\n")
