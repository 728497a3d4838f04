"""The fields of JobSet's v1alpha2 that launch/jobset.yaml uses, from its documentation, and no others."""

from typing import Any


def _fields(required: str, **properties: Any) -> dict[str, Any]:
    return dict(type="object", required=required.split(), additionalProperties=False, properties=properties)


def _list_of(item: dict[str, Any]) -> dict[str, Any]:
    return dict(type="array", minItems=1, items=item)


_TEXT = dict(type="string", minLength=1)
_COUNT = dict(type="integer", minimum=0)
_TEXTS = dict(type="object", additionalProperties=_TEXT)
_CONTAINER = _fields(
    "name image command args resources",
    name=_TEXT,
    image=_TEXT,
    workingDir=_TEXT,
    command=_list_of(_TEXT),
    args=_list_of(_TEXT),
    env=_list_of(_fields("name value", name=_TEXT, value=_TEXT)),
    resources=_fields("limits", limits=dict(type="object", additionalProperties=_COUNT)),
    volumeMounts=_list_of(_fields("name mountPath", name=_TEXT, mountPath=_TEXT)),
)
_VOLUME = _fields(
    "name",
    name=_TEXT,
    persistentVolumeClaim=_fields("claimName", claimName=_TEXT),
    emptyDir=_fields("", medium=dict(enum=["", "Memory"])),
)
_POD = _fields(
    "containers restartPolicy",
    restartPolicy=dict(enum=["Never", "OnFailure"]),
    terminationGracePeriodSeconds=_COUNT,
    nodeSelector=_TEXTS,
    containers=_list_of(_CONTAINER),
    volumes=_list_of(_VOLUME),
)
_JOB = _fields(
    "template",
    parallelism=_COUNT,
    completions=_COUNT,
    completionMode=dict(enum=["Indexed", "NonIndexed"]),
    backoffLimit=_COUNT,
    template=_fields("spec", spec=_POD),
)
SCHEMA = _fields(
    "apiVersion kind metadata spec",
    apiVersion=dict(const="jobset.x-k8s.io/v1alpha2"),
    kind=dict(const="JobSet"),
    metadata=_fields(
        "name",
        name=dict(type="string", pattern="^[a-z]([a-z0-9-]*[a-z0-9])?$"),
        labels=_TEXTS,
        annotations=_TEXTS,
    ),
    spec=_fields(
        "replicatedJobs",
        network=_fields("", enableDNSHostnames=dict(type="boolean"), publishNotReadyAddresses=dict(type="boolean")),
        failurePolicy=_fields("", maxRestarts=_COUNT),
        replicatedJobs=_list_of(
            _fields("name template", name=_TEXT, replicas=_COUNT, template=_fields("spec", spec=_JOB))
        ),
    ),
)
