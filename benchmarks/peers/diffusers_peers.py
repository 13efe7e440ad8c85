"""Times of PyTorch on one GPU: diffusers' serial pipeline, the same with CUDA graphs, and ParaDiGMS if this version of diffusers has it.

Usage: python diffusers_peers.py FOLDER [--steps 25,100] [--prompts 3] [--gpus 1] [--compile] [--out FILE]
FOLDER is a diffusers folder with safetensors, or one of ONNX graphs, whose networks get random weights (`full_size_folder.py`). Prints a
Markdown table; float16, guidance 5, from prompt to image. With several GPUs, ParaDiGMS splits its batches over them.
"""

import argparse
import glob
import json
import statistics
import time

import torch
import diffusers
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

try:
    from diffusers import DDIMParallelScheduler, StableDiffusionParadigmsPipeline
except ImportError:
    StableDiffusionParadigmsPipeline = None

PROMPTS = [
    "a red sphere on a wooden floor at night",
    "a blue ball beside a small purple cube on the beach on a cloudy day",
    "a green cone on grass under a clear sky",
    "a yellow torus on a checkered floor at sunset",
]


class CudaGraphSerial:
    """The serial sampler at PyTorch's limit: one CUDA graph holds the guided evaluation and the DDIM step, another the VAE."""

    def __init__(self, pipeline, guidance=5.0):
        self.pipeline, self.guidance = pipeline, guidance
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)
        side, channels = pipeline.unet.config.sample_size, pipeline.unet.config.in_channels
        like = dict(device="cuda", dtype=torch.float16)
        self.x = torch.zeros(1, channels, side, side, **like).to(memory_format=torch.channels_last)
        self.text = self.encode("")
        # Of the current step: timestep, and the weights of x and of the predicted noise.
        self.t = torch.zeros((), device="cuda")
        self.weights = torch.zeros(2, device="cuda")
        self.image = torch.zeros(1)
        self.step_graph, self.decode_graph = self.capture(self.step), self.capture(self.decode)

    @torch.inference_mode()
    def encode(self, prompt):
        both = self.pipeline.encode_prompt(prompt, "cuda", 1, True)
        return torch.cat([both[1], both[0]])

    @torch.inference_mode()
    def step(self):
        pair = self.x.expand(2, -1, -1, -1).to(memory_format=torch.channels_last)
        without, given = self.pipeline.unet(pair, self.t, encoder_hidden_states=self.text, return_dict=False)[0].chunk(2)
        output = without + self.guidance * (given - without)
        self.x.copy_(self.weights[0] * self.x + self.weights[1] * output)

    @torch.inference_mode()
    def decode(self):
        vae = self.pipeline.vae
        image = vae.decode(self.x / vae.config.scaling_factor, return_dict=False)[0]
        self.image = ((image / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)

    @staticmethod
    def capture(run):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph

    @torch.inference_mode()
    def __call__(self, prompt, num_inference_steps, generator, **_):
        scheduler = self.pipeline.scheduler
        scheduler.set_timesteps(num_inference_steps)
        self.text.copy_(self.encode(prompt))
        self.x.copy_(torch.randn(self.x.shape, generator=generator))
        alphas = scheduler.alphas_cumprod
        timesteps = [int(t) for t in scheduler.timesteps]
        stride = scheduler.config.num_train_timesteps // num_inference_steps
        now = alphas[timesteps]
        then = torch.stack([alphas[t - stride] if t >= stride else scheduler.final_alpha_cumprod for t in timesteps])
        if scheduler.config.prediction_type == "v_prediction":
            of_x = (then * now).sqrt() + ((1 - then) * (1 - now)).sqrt()
            of_output = ((1 - then) * now).sqrt() - (then * (1 - now)).sqrt()
        else:
            of_x = (then / now).sqrt()
            of_output = (1 - then).sqrt() - of_x * (1 - now).sqrt()
        weights = torch.stack([of_x, of_output], 1).float().cuda()
        times = torch.tensor(timesteps, dtype=torch.float32, device="cuda")
        for i in range(len(timesteps)):
            self.t.copy_(times[i])
            self.weights.copy_(weights[i])
            self.step_graph.replay()
        self.decode_graph.replay()
        return self.image.cpu()


def load(folder):
    """The pipeline of a folder on the first GPU, with random weights if it has none for PyTorch."""
    checks = dict(safety_checker=None, requires_safety_checker=False)
    if glob.glob(f"{folder}/unet/*.safetensors"):
        pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float16, **checks)
    else:
        def config(part):
            with open(f"{folder}/{part}/config.json") as file:
                return json.load(file)

        parts = dict(
            unet=UNet2DConditionModel.from_config(config("unet")),
            vae=AutoencoderKL.from_config(config("vae_decoder")),
            text_encoder=CLIPTextModel(CLIPTextConfig.from_dict(config("text_encoder"))),
        )
        others = dict(tokenizer=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"), scheduler=DDIMScheduler.from_pretrained(folder, subfolder="scheduler"))
        pipeline = StableDiffusionPipeline(**{name: part.half().eval() for name, part in parts.items()}, **others, feature_extractor=None, **checks)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    return pipeline.to("cuda")


def timed(generate):
    torch.cuda.synchronize()
    start = time.perf_counter()
    generate()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--steps", default="25,100")
    parser.add_argument("--prompts", type=int, default=3)
    parser.add_argument("--parallel", type=int, default=64, help="window of ParaDiGMS")
    parser.add_argument("--tolerance", type=float, default=0.1, help="of ParaDiGMS")
    parser.add_argument("--gpus", type=int, default=1, help="of ParaDiGMS")
    parser.add_argument("--compile", action="store_true", help="also diffusers with torch.compile, which takes minutes to compile")
    parser.add_argument("--out")
    options = parser.parse_args()
    counts = [int(count) for count in options.steps.split(",")]

    serial = load(options.folder)
    pipelines = {"diffusers serial": (serial, {}), "PyTorch CUDA graph, serial": (CudaGraphSerial(load(options.folder)), {})}
    if options.compile:
        compiled = load(options.folder)
        compiled.unet = torch.compile(compiled.unet.to(memory_format=torch.channels_last), mode="reduce-overhead", fullgraph=True)
        compiled.vae.decode = torch.compile(compiled.vae.decode, mode="reduce-overhead", fullgraph=True)
        pipelines["diffusers, torch.compile, serial"] = (compiled, {})
    if StableDiffusionParadigmsPipeline is not None:
        parts = {k: v for k, v in serial.components.items() if k not in ("scheduler", "image_encoder")}
        scheduler = DDIMParallelScheduler.from_config(serial.scheduler.config)
        parallel = StableDiffusionParadigmsPipeline(**parts, scheduler=scheduler, requires_safety_checker=False)
        parallel.wrapped_unet = torch.nn.DataParallel(parallel.unet, device_ids=list(range(options.gpus))) if options.gpus > 1 else parallel.unet
        pipelines["diffusers ParaDiGMS"] = (parallel, dict(tolerance=options.tolerance))
    for pipeline, _ in pipelines.values():
        if not isinstance(pipeline, CudaGraphSerial):
            pipeline.set_progress_bar_config(disable=True)

    results = []
    for steps in counts:
        for name, (pipeline, extra) in pipelines.items():
            if extra:
                extra = dict(extra, parallel=min(options.parallel, steps))
            prompts = options.prompts if steps <= 200 else 1

            def generate(seed):
                generator = torch.Generator("cpu").manual_seed(seed)
                prompt = PROMPTS[seed % len(PROMPTS)]
                return pipeline(prompt, num_inference_steps=steps, guidance_scale=5.0, generator=generator, **extra)

            # The first run selects kernels. Long runs reuse them.
            if steps <= 200:
                generate(0)
            times = [timed(lambda seed=seed: generate(seed)) for seed in range(prompts)]
            results.append(dict(steps=steps, pipeline=name, seconds=statistics.median(times), runs=len(times)))
            print(f"| {steps} | {name} | {1000 * results[-1]['seconds']:.0f} |", flush=True)

    about = dict(gpu=torch.cuda.get_device_name(0), torch=torch.__version__, diffusers=diffusers.__version__)
    print(json.dumps(about))
    if options.out:
        with open(options.out, "w") as file:
            json.dump(dict(machine=about, results=results), file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
