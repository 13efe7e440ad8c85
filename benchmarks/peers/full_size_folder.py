"""Writes a folder with the architecture of a published model and random weights, as Optimum exports it, to measure times and memory.

Usage: python full_size_folder.py FAMILY OUT TEMPLATE [--tiny] [--layers N]
FAMILY is sd21, sdxl or sd3 (2 billion parameters). TEMPLATE is an ONNX folder of the same family: tokenizers, schedulers and
configurations come from it (models/scenes-128 for sd21, test/fixtures/models/* for the others). The text encoders are embeddings of
the right width. Half precision on a GPU, else float32. --tiny: the same graphs with few channels. --layers: fewer blocks of a transformer.
"""

import argparse
import json
import os
import shutil

import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, UNet2DConditionModel
from torch import nn

CROSS = "CrossAttn"
CLIP_TOKENS = 77


def unet(width, context, **more):
    blocks = [f"{CROSS}DownBlock2D"] * 3 + ["DownBlock2D"]
    return UNet2DConditionModel(**{
        "in_channels": 4, "out_channels": 4, "cross_attention_dim": context, "use_linear_projection": True,
        "block_out_channels": [width, 2 * width, 4 * width, 4 * width], "down_block_types": blocks,
        "up_block_types": [name.replace("Down", "Up") for name in reversed(blocks)], **more})


def sd21(tiny, _layers):
    if tiny:
        return unet(32, 1024, sample_size=16, attention_head_dim=[1, 2, 4, 4])
    return unet(320, 1024, sample_size=64, attention_head_dim=[5, 10, 20, 20])


def sdxl(tiny, _layers):
    width = 32 if tiny else 320
    blocks = ["DownBlock2D", f"{CROSS}DownBlock2D", f"{CROSS}DownBlock2D"]
    return unet(width, 2048, sample_size=16 if tiny else 128, block_out_channels=[width, 2 * width, 4 * width], down_block_types=blocks,
                up_block_types=[name.replace("Down", "Up") for name in reversed(blocks)], attention_head_dim=[5, 10, 20] if not tiny else [1, 2, 4],
                transformer_layers_per_block=[1, 2, 10] if not tiny else 1, addition_embed_type="text_time", addition_time_embed_dim=256,
                projection_class_embeddings_input_dim=1280 + 6 * 256)


def sd3(tiny, layers):
    heads = 2 if tiny else 24
    return SD3Transformer2DModel(sample_size=16 if tiny else 128, patch_size=2, in_channels=16, out_channels=16, num_layers=layers or 24, attention_head_dim=64,
                                 num_attention_heads=heads, joint_attention_dim=4096, caption_projection_dim=64 * heads, pooled_projection_dim=2048, pos_embed_max_size=192)


# Of each family: its network, the channels of its latents, and the width and pooled width of each text encoder.
FAMILIES = {
    "sd21": (sd21, 4, {"text_encoder": (1024, 1024)}),
    "sdxl": (sdxl, 4, {"text_encoder": (768, 768), "text_encoder_2": (1280, 1280)}),
    "sd3": (sd3, 16, {"text_encoder": (768, 768), "text_encoder_2": (1280, 1280), "text_encoder_3": (4096, 0)}),
}


class Encoder(nn.Module):
    """As many outputs as `names`: pooled ones from the first token."""

    def __init__(self, vocabulary, width, names):
        super().__init__()
        self.embedding, self.norm, self.names = nn.Embedding(vocabulary, width), nn.LayerNorm(width), names

    def forward(self, ids):
        states = self.norm(self.embedding(ids))
        return tuple(states[:, 0] if name in ("pooler_output", "text_embeds") else states * 1 for name in self.names)


class Call(nn.Module):
    def __init__(self, call, module):
        super().__init__()
        self.call, self.module = call, module

    def forward(self, *inputs):
        return self.call(self.module, *inputs)


def export(folder, module, inputs, outputs):
    """`inputs`: by name, a tensor and the names of its dynamic axes."""
    os.makedirs(folder, exist_ok=True)
    axes = {name: dict(enumerate(names)) for name, (_, names) in inputs.items()}
    for name in outputs:
        axes[name] = {0: "batch_size"}
    with torch.no_grad():
        torch.onnx.export(module, tuple(tensor for tensor, _ in inputs.values()), f"{folder}/model.onnx", input_names=list(inputs), output_names=outputs,
                          dynamic_axes={name: {k: axis for k, axis in of.items() if axis} for name, of in axes.items()}, opset_version=18, dynamo=False)
    size = sum(os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder))
    print(f"{folder}: {size / 1e9:.2f} GB", flush=True)


def network_inputs(family, network, side, like, tokens):
    config, rows = network.config, 2
    ids = dict(dtype=torch.int64, device=like["device"])
    text = (torch.randn(rows, tokens, 4096 if family == "sd3" else config.cross_attention_dim, **like), ("batch_size", "sequence_length"))
    sample = (torch.randn(rows, config.in_channels, side, side, **like), ("batch_size", None, "height", "width"))
    if family == "sd3":
        return {"hidden_states": sample, "encoder_hidden_states": text, "pooled_projections": (torch.randn(rows, 2048, **like), ("batch_size",)),
                "timestep": (torch.rand(rows, **like), ("step",))}
    inputs = {"sample": sample, "timestep": (torch.tensor(7, **ids), ()), "encoder_hidden_states": text}
    if family == "sdxl":
        inputs |= {"text_embeds": (torch.randn(rows, 1280, **like), ("batch_size",)), "time_ids": (torch.ones(rows, 6, **like), ("batch_size",))}
    return inputs


def evaluate(family, network, inputs):
    """The network with its inputs by the names that diffusers gives them."""
    renamed = {"text_embeds": None, "time_ids": None}
    given = {name: value for name, value in inputs.items() if name not in renamed}
    if family == "sdxl":
        given["added_cond_kwargs"] = {name: inputs[name] for name in renamed}
    return network(**given, return_dict=False)[0]


def configure(path, **changes):
    with open(path) as file:
        config = json.load(file)
    with open(path, "w") as file:
        json.dump({**config, **changes}, file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("out")
    parser.add_argument("template")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--layers", type=int)
    args = parser.parse_args()
    device, dtype = ("cuda", torch.float16) if torch.cuda.is_available() else ("cpu", torch.float32)
    like = dict(device=device, dtype=dtype)
    torch.manual_seed(0)
    make, channels, encoders = FAMILIES[args.family]
    shutil.copytree(args.template, args.out, ignore=shutil.ignore_patterns("model.onnx*", "vae_encoder", "model_f*"))

    for tokenizer in (name for name in os.listdir(args.out) if name.startswith("tokenizer")):
        # T5's tokenizer has its own length.
        if os.path.exists(f"{args.out}/{tokenizer}/vocab.json"):
            configure(f"{args.out}/{tokenizer}/tokenizer_config.json", model_max_length=CLIP_TOKENS)

    torch.set_default_dtype(dtype)
    with torch.device(device):
        network = make(args.tiny, args.layers).eval()
    torch.set_default_dtype(torch.float32)
    side = 16 if args.tiny else 64 if args.family == "sd21" else 128
    inputs = network_inputs(args.family, network, side, like, CLIP_TOKENS)
    call = lambda module, *values: evaluate(args.family, module, dict(zip(inputs, values)))
    name = "transformer" if args.family == "sd3" else "unet"
    export(f"{args.out}/{name}", Call(call, network), inputs, ["out_hidden_states" if name == "transformer" else "out_sample"])
    with open(f"{args.out}/{name}/config.json", "w") as file:
        json.dump({**network.config, "_class_name": type(network).__name__}, file)
    del network
    torch.cuda.empty_cache()

    widths = [32, 32, 64, 64] if args.tiny else [128, 256, 512, 512]
    vae = dict(block_out_channels=widths, down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, layers_per_block=2,
               latent_channels=channels, sample_size=8 * side, use_post_quant_conv=channels == 4, use_quant_conv=channels == 4)
    decode = lambda module, latent: module.decode(latent, return_dict=False)[0]
    sample = {"latent_sample": (torch.randn(1, channels, side, side, **like), ("batch_size", None, "latent_height", "latent_width"))}
    export(f"{args.out}/vae_decoder", Call(decode, AutoencoderKL(**vae).to(device, dtype).eval()), sample, ["sample"])
    configure(f"{args.out}/vae_decoder/config.json", **vae)

    for part, (width, pooled) in encoders.items():
        path = f"{args.out}/{part}/config.json"
        with open(path) as file:
            config = json.load(file)
        hidden = [f"hidden_states.{k}" for k in range(config.get("num_hidden_layers", 0) + 1)] if config.get("output_hidden_states") else []
        first = [] if pooled == 0 else ["text_embeds" if "Projection" in config["architectures"][0] else "pooler_output"]
        # The vocabulary of the template's tokenizer.
        encoder = Encoder(config["vocab_size"], width, [*first, "last_hidden_state", *hidden]).to(device, dtype)
        tokens = {"input_ids": (torch.zeros(1, CLIP_TOKENS, dtype=torch.int64, device=device), ("batch_size", "sequence_length"))}
        export(f"{args.out}/{part}", encoder, tokens, encoder.names)
        if pooled == 0:
            configure(path, d_model=width)
        else:
            configure(path, hidden_size=width, projection_dim=pooled, max_position_embeddings=CLIP_TOKENS)


main()
