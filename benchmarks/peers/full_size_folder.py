"""Writes a folder with the architecture of a published model and random weights, as Optimum exports it, to measure times and memory.

Usage: python full_size_folder.py FAMILY OUT TEMPLATE [--tiny] [--layers N]
FAMILY is sd21, sdxl, sd3 (2 billion parameters) or flux (Flux.1 dev, 12 billion). TEMPLATE is an ONNX folder of the same family: tokenizers,
schedulers and configurations come from it (models/scenes-128 for sd21, test/fixtures/models/* for the others). The text encoders are
embeddings of the right width. Half precision on a GPU, else float32. --tiny: the same graphs with few channels. --layers: fewer blocks of a
transformer; Flux has twice as many blocks of a single stream.
"""

import argparse
import json
import os
import shutil

import onnx
import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from diffusers.models.transformers import transformer_flux
from torch import nn

CROSS = "CrossAttn"
CLIP_TOKENS = 77
# A file of weights that is larger is followed by another one; tensors start at pages.
DATA_BYTES, PAGE = 8 << 30, 4096
# Side of the latents that the networks are traced with; the graphs take others too.
TRACED = 16


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


def flux(tiny, layers):
    return FluxTransformer2DModel(num_attention_heads=2 if tiny else 24, num_layers=layers or 19, num_single_layers=2 * (layers or 19), guidance_embeds=True)


def rotate(x, frequencies, sequence_dim=2, **_):
    """diffusers' apply_rotary_emb without its reshape, which the exporter would give the lengths of the example. Source: FluxTransformerModelPatcher of Optimum."""
    cos, sin = (of.unsqueeze(0).unsqueeze(3 - sequence_dim) for of in frequencies)
    rotated = torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(3)
    return (x.float() * cos + rotated.float() * sin).to(x.dtype)


def rms_norm(x, _shape, weight=None, eps=None):
    """What torch.rms_norm computes, for which the exporter has no operator. Source: onnx_compatible_rms_norm of Optimum."""
    return x / torch.sqrt(torch.mean(torch.square(x), dim=-1, keepdim=True) + eps) * weight


transformer_flux.apply_rotary_emb = rotate
torch.rms_norm = rms_norm

# Of each family: its network, the channels of its latents, and the width and pooled width of each text encoder.
FAMILIES = {
    "sd21": (sd21, 4, {"text_encoder": (1024, 1024)}),
    "sdxl": (sdxl, 4, {"text_encoder": (768, 768), "text_encoder_2": (1280, 1280)}),
    "sd3": (sd3, 16, {"text_encoder": (768, 768), "text_encoder_2": (1280, 1280), "text_encoder_3": (4096, 0)}),
    "flux": (flux, 16, {"text_encoder": (768, 768), "text_encoder_2": (4096, 0)}),
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
    join_data(folder)
    size = sum(os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder))
    print(f"{folder}: {size / 1e9:.2f} GB", flush=True)


def join_data(folder):
    """The exporter writes each tensor of a large graph to a file of its own: appends them to few files, one tensor after the other."""
    graph = onnx.load(f"{folder}/model.onnx", load_external_data=False)
    count = 0
    constants = (attribute.t for node in graph.graph.node for attribute in node.attribute if attribute.HasField("t"))
    for tensor in [*graph.graph.initializer, *constants]:
        entries = {entry.key: entry for entry in tensor.external_data}
        if not entries:
            continue
        source, target = f"{folder}/{entries['location'].value}", "model.onnx_data" + (f"_{count}" if count else "")
        with open(source, "rb") as data, open(f"{folder}/{target}", "ab") as joined:
            offset = joined.seek(joined.truncate(-(-joined.tell() // PAGE) * PAGE))
            shutil.copyfileobj(data, joined, 1 << 24)
            count += joined.tell() > DATA_BYTES
            placed = {"location": target, "offset": offset, "length": joined.tell() - offset}
        os.remove(source)
        del tensor.external_data[:]
        for key, value in placed.items():
            tensor.external_data.add(key=key, value=str(value))
    onnx.save(graph, f"{folder}/model.onnx")


def network_inputs(family, network, side, like, tokens):
    config, rows = network.config, 2
    ids = dict(dtype=torch.int64, device=like["device"])
    batch, sequence, packed = "batch_size", "sequence_length", "packed_height_width"
    if family in ("sd21", "sdxl"):
        inputs = {"sample": (torch.randn(rows, config.in_channels, side, side, **like), (batch, None, "height", "width")), "timestep": (torch.tensor(7, **ids), ()),
                  "encoder_hidden_states": (torch.randn(rows, tokens, config.cross_attention_dim, **like), (batch, sequence))}
        if family == "sdxl":
            inputs |= {"text_embeds": (torch.randn(rows, 1280, **like), (batch,)), "time_ids": (torch.ones(rows, 6, **like), (batch,))}
        return inputs
    if family == "sd3":
        hidden = (torch.randn(rows, config.in_channels, side, side, **like), (batch, None, "height", "width"))
    else:
        hidden = (torch.randn(rows, side * side // 4, config.in_channels, **like), (batch, packed))
    inputs = {"hidden_states": hidden, "encoder_hidden_states": (torch.randn(rows, tokens, config.joint_attention_dim, **like), (batch, sequence)),
              "pooled_projections": (torch.randn(rows, config.pooled_projection_dim, **like), (batch,)), "timestep": (torch.rand(rows, **like), ("step",))}
    if family == "flux":
        inputs |= {"img_ids": (torch.zeros(side * side // 4, 3, **ids), (packed,)), "txt_ids": (torch.zeros(tokens, 3, **ids), (sequence,)),
                   "guidance": (torch.ones(rows, **like), (batch,))}
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
    inputs = network_inputs(args.family, network, TRACED, like, CLIP_TOKENS)
    call = lambda module, *values: evaluate(args.family, module, dict(zip(inputs, values)))
    name = "unet" if isinstance(network, UNet2DConditionModel) else "transformer"
    export(f"{args.out}/{name}", Call(call, network), inputs, ["out_hidden_states" if name == "transformer" else "out_sample"])
    with open(f"{args.out}/{name}/config.json", "w") as file:
        json.dump({**network.config, "_class_name": type(network).__name__}, file)
    del network
    torch.cuda.empty_cache()

    side = 16 if args.tiny else 64 if args.family == "sd21" else 128
    widths = [32, 32, 64, 64] if args.tiny else [128, 256, 512, 512]
    vae = dict(block_out_channels=widths, down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, layers_per_block=2,
               latent_channels=channels, sample_size=8 * side, use_post_quant_conv=channels == 4, use_quant_conv=channels == 4)
    decode = lambda module, latent: module.decode(latent, return_dict=False)[0]
    sample = {"latent_sample": (torch.randn(1, channels, TRACED, TRACED, **like), ("batch_size", None, "latent_height", "latent_width"))}
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
