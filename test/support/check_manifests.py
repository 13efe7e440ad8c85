"""Validates Kubernetes manifests strictly: built-in kinds against Kubernetes' schemas, KServe's against the models of its package.

Prints a JSON list of [file, kind, problem or null].
"""

import importlib
import json
import re
import sys
import types
from pathlib import Path

import jsonschema
import kubernetes_validate
import referencing
import yaml

VERSION = "1.37"
SCHEMAS = (
    Path(kubernetes_validate.__file__).parent
    / f"kubernetes-json-schema/v{VERSION}.0-local-strict"
)
DEFINITIONS = json.loads((SCHEMAS / "_definitions.json").read_text())
REGISTRY = referencing.Registry().with_resource(
    DEFINITIONS["$id"], referencing.Resource.from_contents(DEFINITIONS)
)


def kserve_models():
    """The package kserve imports a whole server. Its models need nothing of that."""
    path = next(p for p in map(Path, sys.path) if (p / "kserve/models").is_dir())
    package = types.ModuleType("kserve")
    package.__path__ = [str(path / "kserve")]
    sys.modules["kserve"] = package
    configuration = types.ModuleType("kserve.configuration")
    configuration.Configuration = type(
        "Configuration", (), {"client_side_validation": True}
    )
    sys.modules["kserve.configuration"] = configuration
    return importlib.import_module("kserve.models")


MODELS = kserve_models()
PRIMITIVES = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


def check(value, kind, where):
    if inner := re.fullmatch(r"list\[(.*)\]", kind):
        for position, entry in enumerate(value):
            check(entry, inner[1], f"{where}[{position}]")
    elif inner := re.fullmatch(r"dict\(str, (.*)\)", kind):
        for name, entry in value.items():
            check(entry, inner[1], f"{where}.{name}")
    elif kind in PRIMITIVES:
        if not isinstance(value, PRIMITIVES[kind]):
            raise ValueError(f"{where}: expected {kind}, found {value!r}")
    elif model := getattr(MODELS, kind, None):
        own = {json_name: name for name, json_name in model.attribute_map.items()}
        for name, entry in value.items():
            if name not in own:
                raise ValueError(f"{where}: {name} is not a field of {kind}")
            check(entry, model.openapi_types[own[name]], f"{where}.{name}")
        model(**{own[name]: entry for name, entry in value.items()})
    else:
        check_built_in(value, kind, where)


def check_built_in(value, kind, where):
    """A part that Kubernetes defines, such as V1ObjectMeta."""
    version, name = re.fullmatch(r"(V\d(?:beta\d)?)(\w+)", kind).groups()
    ending = f".{version.lower()}.{name}"
    full = next(one for one in DEFINITIONS["$defs"] if one.endswith(ending))
    schema = {"$ref": f"{DEFINITIONS['$id']}#/$defs/{full}"}
    try:
        jsonschema.Draft202012Validator(schema, registry=REGISTRY).validate(value)
    except jsonschema.ValidationError as error:
        raise ValueError(f"{where}: {error.message}") from error


def problem_of(document):
    try:
        if document["apiVersion"].startswith("serving.kserve.io/"):
            version = document["apiVersion"].split("/")[1]
            check(document, f"{version.capitalize()}{document['kind']}", document["kind"])
        else:
            kubernetes_validate.validate(document, VERSION, strict=True)
    except (ValueError, kubernetes_validate.ValidationError) as error:
        return str(error).splitlines()[0]
    return None


print(
    json.dumps(
        [
            [file, document["kind"], problem_of(document)]
            for file in sys.argv[1:]
            for document in yaml.safe_load_all(Path(file).read_text())
        ]
    )
)
