"""What clients from PyPI make of a server with their defaults, as JSON: `web_clients.py URL`."""

import io
import json
import os
import sys
from urllib.parse import urlparse

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_LOG"] = "ERROR"

import litellm
import sd_backend_client
import webuiapi
from PIL import Image

url = sys.argv[1]
seen = {}


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    file.name = "image.png"
    file.seek(0)
    return file


server = urlparse(url)
api = webuiapi.WebUIApi(host=server.hostname, port=server.port)
drawn = api.txt2img(prompt="a red ball")
mask = Image.new("L", drawn.image.size, 0)
mask.paste(255, (0, 0, 64, 128))
painted = api.img2img(images=[drawn.image], prompt="a blue ball", mask_image=mask)
seen["webuiapi"] = {
    "sizes": [drawn.image.size, painted.image.size],
    "warnings": [drawn.info["warnings"], painted.info["warnings"]],
    "information": api.png_info(drawn.image).info.split("\n")[0],
    "models": api.util_get_model_names(),
    "samplers": api.util_get_sampler_names(),
    "schedulers": api.util_get_scheduler_names(),
    "lists": [
        api.get_upscalers(),
        api.get_loras(),
        api.get_hypernetworks(),
        api.get_sd_vae(),
        api.get_prompt_styles(),
        api.get_face_restorers(),
        api.get_latent_upscale_modes(),
        api.controlnet_model_list(),
    ],
    "memory": api.get_memory()["ram"]["total"],
    "interrupted": api.interrupt(),
}

backend = sd_backend_client.connect_to_backend(url)
params = sd_backend_client.DiffusionParams(prompt="a red ball")
first = backend.submit_txt2img(params).wait(timeout=300)
params.init_images = [first.images[0]]
params.mask = mask
second = backend.submit_img2img(params).wait(timeout=300)
third = backend.submit_inpaint(params).wait(timeout=300)
seen["sd_backend_client"] = {
    "kind": type(backend).__name__,
    "sizes": [result.images[0].size for result in (first, second, third)],
    "seed": first.seeds[0],
}

openai = {"api_base": f"{url}/v1", "api_key": "none"}
content = litellm.image_generation(prompt="a red ball", model="openai/gpt-image-1", **openai)
linked = litellm.image_generation(prompt="a red ball", model="openai/dall-e-3", size="1024x1024", quality="hd", **openai)
edited = litellm.image_edit(image=[png(first.images[0])], prompt="a blue ball", model="openai/gpt-image-1", **openai)
seen["litellm"] = {
    "content": len(content.data[0].b64_json),
    "url": linked.data[0].url,
    "edited": len(edited.data[0].b64_json),
}

print(json.dumps(seen))
