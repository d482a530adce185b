"""DICOMweb documents: native/sdk/dicom_web.cpp."""

_BinaryTags: TypeAlias = Callable[
    [DicomWebNode, list[tuple[int, int, int]], int, int, ValueRepresentation], object
]

@final
class DicomWebNode:
    """A binary tag of a DICOMweb document, valid inside the function that is called for it."""

    def SetBinaryNode(
        self, mode: DicomWebBinaryMode | int, bulkDataUri: str | None = None, /
    ) -> None:
        """Tell how the tag is written; one for which nobody tells is left out.

        Args:
            mode: Left out, with its bytes, or with a URI from which they can be had.
            bulkDataUri: That URI.

        Raises:
            ValueError: The mode needs the URI.
            RuntimeError: The function has returned already.
        """
