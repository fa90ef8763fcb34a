"""The bill of materials of all that requirements*.txt pin, as CycloneDX 1.6 JSON: versions, hashes, licences, purls.

    python supply/sbom.py > sbom.json

The same requirements and licences give the same bytes: no time, no random number. What is written is checked against
the official schema first. A package has as many hashes as files (wheels of all machines, source), so they stand at its
place in the index, as cyclonedx-py writes them.
"""

import json
import sys
import uuid
import warnings

import yaml
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

import licences

INDEX = "https://pypi.org/simple"


def bill(found: list[licences.Found], version: str) -> str:
    """The bill as JSON; ValueError where it does not follow the schema. version: of this program."""
    root = Component(
        name="semireal",
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref=f"semireal@{version}",
        licenses=[LicenseFactory().make_from_string("MIT")],
    )
    bom = Bom(components=[_component(one) for one in found])
    bom.metadata.component = root
    bom.register_dependency(root, list(bom.components))
    written = json.loads(JsonV1Dot6(bom).output_as_string())
    del written["metadata"]["timestamp"]
    del written["serialNumber"]
    # the name of a bill is one of its content
    written["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(written, sort_keys=True)).urn
    text = json.dumps(written, indent=2, sort_keys=True) + "\n"
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise ValueError(f"the bill does not follow the schema: {problem.data}")
    return text


def _component(one: licences.Found) -> Component:
    purl = PackageURL("pypi", name=one.pin.name, version=one.pin.version)
    acknowledged = LicenseAcknowledgement.CONCLUDED if one.why else LicenseAcknowledgement.DECLARED
    return Component(
        name=one.pin.name,
        version=one.pin.version,
        purl=purl,
        bom_ref=str(purl),
        licenses=[]
        if one.licence == licences.UNKNOWN
        else [LicenseFactory().make_from_string(one.licence, license_acknowledgement=acknowledged)],
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(f"{INDEX}/{one.pin.name}/"),
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in one.pin.hashes],
            )
        ],
    )


def main() -> None:
    """Print the bill."""
    warnings.simplefilter("ignore")  # of what the library would like to know besides
    project = (licences.ROOT / "CITATION.cff").read_text()
    found = licences.look(yaml.safe_load(licences.RULES.read_text()), licences.pins())
    sys.stdout.write(bill(found, str(yaml.safe_load(project)["version"])))


if __name__ == "__main__":
    main()
