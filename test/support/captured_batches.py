"""Runs deploy/triton/model.py as on a GPU, with memory and graphs of the CPU, and prints what it did.

Arguments: the folder of the exported model, and `works`, `differs` or `fails`: what capturing a graph comes to.
"""

import json
import sys
import types

import numpy as np
import onnxruntime as ort

FOLDER, CAPTURING = sys.argv[1:]
SHAPES = {"sample": (4, 8, 8), "timestep": (), "encoder_hidden_states": (77, 32)}
warnings, opened, replays = [], [], []

backend = types.ModuleType("triton_python_backend_utils")
backend.Logger = types.SimpleNamespace(log_warn=warnings.append)
backend.TritonModelException = RuntimeError
backend.triton_string_to_numpy = {"TYPE_FP32": np.float32}.get
sys.modules[backend.__name__] = backend

on_cpu = ort.InferenceSession(
    f"{FOLDER}/1/model.onnx", providers=["CPUExecutionProvider"]
)


class Session:
    """What the model uses of a session on a GPU."""

    def __init__(self, path, providers):
        [(name, options), _] = providers
        opened.append([name, options["enable_cuda_graph"]])

    def run(self, names, arrays, options):
        assert options.get_run_config_entry("gpu_graph_id") == "-1"
        return on_cpu.run(names, arrays)

    def io_binding(self):
        return on_cpu.io_binding()

    def run_with_iobinding(self, binding, options):
        if CAPTURING == "fails":
            raise RuntimeError("no graph")
        number = options.get_run_config_entry("gpu_graph_id")
        is_replay = number in replays
        replays.append(number)
        on_cpu.run_with_iobinding(binding)
        if CAPTURING == "differs" and is_replay:
            [output] = binding.get_outputs()
            output.update_inplace(output.numpy() + 1)


class OrtValue:
    """Values of a GPU, in the memory of the CPU."""

    @staticmethod
    def ortvalue_from_numpy(array, *_):
        return real_value.ortvalue_from_numpy(array.copy())

    @staticmethod
    def ortvalue_from_shape_and_type(shape, dtype, *_):
        return real_value.ortvalue_from_shape_and_type(shape, dtype)


real_value = ort.OrtValue
ort.InferenceSession, ort.OrtValue = Session, OrtValue
ort.get_available_providers = lambda: ["CUDAExecutionProvider"]
sys.dont_write_bytecode = True
sys.path.insert(0, f"{FOLDER}/1")
from model import TritonPythonModel  # noqa: E402

config = {
    "input": [{"name": name, "data_type": "TYPE_FP32"} for name in SHAPES],
    "output": [{"name": "out_sample"}],
    "parameters": {"batch_sizes": {"string_value": "1,4,8"}},
}
model = TritonPythonModel()
model.initialize(
    {
        "model_config": json.dumps(config),
        "model_repository": FOLDER,
        "model_version": "1",
        "model_instance_kind": "GPU",
        "model_instance_device_id": "0",
    }
)
random = np.random.default_rng(0)
errors = []
for rows in (1, 3, 3, 4, 7, 2, 1):
    arrays = {
        name: random.standard_normal((rows, *shape)).astype(np.float32)
        for name, shape in SHAPES.items()
    }
    [expected] = on_cpu.run(None, arrays)
    found = model.run(arrays)
    errors.append(float(np.abs(found - expected).max()) if found.shape == expected.shape else None)
sizes = sorted(key[0][0] for key in model.captured)
print(json.dumps({"errors": errors, "sizes": sizes, "opened": opened, "warnings": warnings}))
