"""KServe's server with the ONNX file argv[1] as the model `unet`, on the ports argv[2] (HTTP) and argv[3] (gRPC) of the loopback address."""

import asyncio
import sys

import grpc.aio
import onnxruntime
import uvicorn
from kserve import InferOutput, InferResponse, Model, ModelServer

PATH, HTTP_PORT, GRPC_PORT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

# ModelServer listens on all addresses.
uvicorn_init = uvicorn.Config.__init__
uvicorn.Config.__init__ = lambda self, app, host=None, **rest: uvicorn_init(self, app, host="127.0.0.1", **rest)
grpc_server = grpc.aio.server


def local_grpc(*args, **kwargs):
    server = grpc_server(*args, **kwargs)
    add = server.add_insecure_port
    server.add_insecure_port = lambda address: add("127.0.0.1:" + address.rsplit(":", 1)[1])
    return server


grpc.aio.server = local_grpc


class Unet(Model):
    def __init__(self):
        super().__init__("unet")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(PATH, options, providers=["CPUExecutionProvider"])
        self.ready = True

    def load(self):
        return True

    def tensors(self, values):
        return [{"name": one.name, "datatype": "FP32", "shape": [n if isinstance(n, int) else -1 for n in one.shape]} for one in values]

    async def get_input_types(self):
        return self.tensors(self.session.get_inputs())

    async def get_output_types(self):
        return self.tensors(self.session.get_outputs())

    async def predict(self, payload, headers=None, response_headers=None):
        feeds = {one.name: one.as_numpy() for one in payload.inputs}
        rows = (await asyncio.get_running_loop().run_in_executor(None, self.session.run, None, feeds))[0]
        output = InferOutput(name="out_sample", shape=list(rows.shape), datatype="FP32")
        output.set_data_from_numpy(rows, binary_data=True)
        return InferResponse(
            response_id=payload.id,
            model_name=self.name,
            infer_outputs=[output],
            requested_outputs=payload.request_outputs,
            use_binary_outputs=True,
        )


if __name__ == "__main__":
    ModelServer(http_port=HTTP_PORT, grpc_port=GRPC_PORT, workers=1, grace_period=1).start([Unet()])
