"""A network in ONNX Runtime with a CUDA graph for each size of batches: a model of Triton's python backend.

Batches are padded to the next of the sizes in the parameter batch_sizes. On a GPU, the first batch of each size and shape is
captured as a CUDA graph, which later ones replay; all share one copy of the weights. On a CPU, batches run as they are.
Needs numpy and onnxruntime, on a GPU onnxruntime-gpu, in the Python of the server.
"""

import json
import os

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

# A replay and the same kernels without a graph differ by no more than this share of the largest value.
ROUNDING = 1e-2


class CapturedBatch:
    """A batch of fixed shapes, at fixed addresses in the GPU's memory. The first run captures its graph."""

    def __init__(self, session, number, device, arrays, output, shape):
        place = ("cuda", device)
        self.session = session
        self.inputs = {
            name: ort.OrtValue.ortvalue_from_numpy(array, *place)
            for name, array in arrays.items()
        }
        self.result = ort.OrtValue.ortvalue_from_shape_and_type(
            shape, np.float32, *place
        )
        self.binding = session.io_binding()
        for name, value in self.inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        self.binding.bind_ortvalue_output(output, self.result)
        self.options = numbered(number)

    def run(self, arrays):
        for name, array in arrays.items():
            self.inputs[name].update_inplace(array)
        self.session.run_with_iobinding(self.binding, self.options)
        return self.result.numpy()


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.types = {
            one["name"]: pb_utils.triton_string_to_numpy(one["data_type"])
            for one in config["input"]
        }
        self.output = config["output"][0]["name"]
        sizes = config["parameters"]["batch_sizes"]["string_value"]
        self.sizes = sorted(int(size) for size in sizes.split(","))
        self.device = int(args["model_instance_device_id"])
        self.captured = {}
        self.path = os.path.join(
            args["model_repository"], args["model_version"], "model.onnx"
        )
        self.on_gpu = args["model_instance_kind"] == "GPU"
        if self.on_gpu and "CUDAExecutionProvider" not in ort.get_available_providers():
            raise pb_utils.TritonModelException(
                "expected onnxruntime-gpu in the server's Python, found onnxruntime for the CPU; install it, or set KIND_CPU"
            )
        self.uses_graphs = self.on_gpu
        try:
            self.session = self.open_session()
        except Exception as error:
            if not self.uses_graphs:
                raise
            self.give_up_graphs(error)

    def open_session(self):
        providers = ["CPUExecutionProvider"]
        if self.on_gpu:
            cuda = {
                "device_id": str(self.device),
                "enable_cuda_graph": "1" if self.uses_graphs else "0",
                "prefer_nhwc": "1",
                "arena_extend_strategy": "kSameAsRequested",
            }
            providers = [("CUDAExecutionProvider", cuda), *providers]
        return ort.InferenceSession(self.path, providers=providers)

    def give_up_graphs(self, why):
        """Goes on without CUDA graphs, in a session that captures none."""
        pb_utils.Logger.log_warn(f"batches run without CUDA graphs: {why}")
        self.uses_graphs = False
        self.captured.clear()
        self.session = self.open_session()

    def execute(self, requests):
        batches = [self.read(request) for request in requests]
        joined = {
            name: np.concatenate([batch[name] for batch in batches])
            for name in self.types
        }
        rows = self.run(joined)
        responses, start = [], 0
        for batch in batches:
            end = start + rows_of(batch)
            output = pb_utils.Tensor(
                self.output, np.ascontiguousarray(rows[start:end])
            )
            responses.append(pb_utils.InferenceResponse([output]))
            start = end
        return responses

    def read(self, request):
        return {
            name: pb_utils.get_input_tensor_by_name(request, name)
            .as_numpy()
            .astype(dtype, copy=False)
            for name, dtype in self.types.items()
        }

    def run(self, arrays):
        """The network's rows for a batch."""
        if not self.on_gpu:
            return self.session.run([self.output], arrays)[0]
        count = rows_of(arrays)
        padded = {
            name: pad(array, self.padded_rows(count)) for name, array in arrays.items()
        }
        return self.run_on_gpu(padded)[:count]

    def run_on_gpu(self, arrays):
        key = tuple(array.shape for array in arrays.values())
        if key in self.captured:
            return self.captured[key].run(arrays)
        plain = self.session.run([self.output], arrays, numbered(-1))[0]
        if self.uses_graphs:
            try:
                self.captured[key] = self.capture(arrays, plain)
            except Exception as error:
                self.give_up_graphs(error)
        return plain

    def capture(self, arrays, expected):
        """Captures a batch, and compares a replay with the same batch without a graph."""
        batch = CapturedBatch(
            self.session,
            len(self.captured) + 1,
            self.device,
            arrays,
            self.output,
            expected.shape,
        )
        batch.run(arrays)
        difference = np.abs(batch.run(arrays) - expected).max()
        if not difference <= ROUNDING * np.abs(expected).max():
            raise RuntimeError(f"a replay gave another result, by {difference}")
        return batch

    def padded_rows(self, count):
        return next((size for size in self.sizes if size >= count), count)


def numbered(number):
    """Options of a run with the CUDA graph of that number; -1 runs without."""
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(number))
    return options


def rows_of(arrays):
    return len(next(iter(arrays.values())))


def pad(array, rows):
    """The first row, which is valid for the network, fills up a batch."""
    missing = rows - len(array)
    if missing == 0:
        return np.ascontiguousarray(array)
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)])
