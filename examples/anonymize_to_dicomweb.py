r"""Send what was received for research to a DICOMweb server, de-identified on the way.

    DICOMWEB_URL=https://research.example/dicom-web RESEARCH_KEY=… \\
        orthanc-async run anonymize_to_dicomweb.py

Only what a modality has sent to the title RESEARCH goes there. UIDs and the patient's identifier
are derived from the old ones and RESEARCH_KEY, so that the studies of a patient still belong
together, and a study that is sent again replaces itself.
"""

from __future__ import annotations

import os

from orthanc_async import forward, on_stable_study

research = forward.to_dicomweb(
    os.environ["DICOMWEB_URL"],
    only=forward.called_aet("RESEARCH"),
    transform=forward.anonymize(
        key=forward.secret_from_env("RESEARCH_KEY"),
        keep=["StudyDescription", "SeriesDescription"],
    ),
)

on_stable_study(research, durable="research")
