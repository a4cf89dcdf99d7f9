"""The fields of core metadata.

Source: https://packaging.python.org/en/latest/specifications/core-metadata/
"""

#: Fields that rules may name. The description is missing, and fields that pages state better.
FIELDS = frozenset(
    {
        *("author", "author-email", "classifier", "download-url", "dynamic", "home-page"),
        *("import-name", "import-namespace", "keywords", "license", "license-file", "maintainer"),
        *("maintainer-email", "metadata-version", "name", "obsoletes-dist", "platform"),
        *("project-url", "provides-dist", "provides-extra", "requires-dist"),
        *("requires-external", "summary", "supported-platform"),
    }
)
