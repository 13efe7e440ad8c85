"""Times of diffusers on one GPU: its serial pipeline, and ParaDiGMS if this version of diffusers has it.

Usage: python diffusers_peers.py FOLDER [--steps 25,100] [--prompts 3] [--out FILE]
FOLDER is a diffusers folder with safetensors. Prints a Markdown table; eager float16, guidance 5, from prompt to image.
"""

import argparse
import json
import statistics
import time

import torch
import diffusers
from diffusers import DDIMScheduler, StableDiffusionPipeline

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
    parser.add_argument("--out")
    options = parser.parse_args()
    counts = [int(count) for count in options.steps.split(",")]

    load = dict(torch_dtype=torch.float16, safety_checker=None, requires_safety_checker=False)
    serial = StableDiffusionPipeline.from_pretrained(options.folder, **load).to("cuda")
    serial.scheduler = DDIMScheduler.from_config(serial.scheduler.config)
    pipelines = {"diffusers serial": (serial, {})}
    if StableDiffusionParadigmsPipeline is not None:
        parts = {k: v for k, v in serial.components.items() if k not in ("scheduler", "image_encoder")}
        scheduler = DDIMParallelScheduler.from_config(serial.scheduler.config)
        parallel = StableDiffusionParadigmsPipeline(**parts, scheduler=scheduler, requires_safety_checker=False)
        parallel.wrapped_unet = parallel.unet
        pipelines["diffusers ParaDiGMS"] = (parallel, dict(tolerance=options.tolerance))
    for pipeline, _ in pipelines.values():
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
