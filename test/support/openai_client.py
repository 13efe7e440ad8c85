"""What the official OpenAI client makes of a server, as JSON: `openai_client.py URL KEY`."""

import base64
import io
import json
import sys

from openai import AuthenticationError, BadRequestError, OpenAI

url, key = sys.argv[1:]
client = OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
seen = {"models": [model.id for model in client.models.list()]}

drawn = client.images.generate(
    model="gpt-image-1", prompt="a red ball", n=2, extra_body={"seed": 7, "steps": 4, "sampler": "serial"}
)
seen["images"] = [image.b64_json for image in drawn.data]
seen["tokens"] = drawn.usage.total_tokens

stream = client.images.generate(
    model="gpt-image-1", prompt="a red ball", stream=True, partial_images=2, extra_body={"seed": 7, "steps": 9, "tolerance": 0}
)
seen["events"] = [event.type for event in stream]

png = io.BytesIO(base64.b64decode(drawn.data[0].b64_json))
png.name = "image.png"
edited = client.images.edit(image=png, prompt="a blue ball", extra_body={"steps": 4, "strength": 0.5})
seen["edited"] = len(edited.data)

large = client.images.generate(model="gpt-image-1", prompt="a red ball", size="1024x1024", quality="high")
seen["large"] = large.size

try:
    client.images.generate(prompt="a", n=1000)
except BadRequestError as error:
    seen["refused"] = [error.status_code, error.param]
try:
    OpenAI(base_url=f"{url}/v1", api_key="another", max_retries=0).models.list()
except AuthenticationError as error:
    seen["unknown"] = error.code

print(json.dumps(seen))
