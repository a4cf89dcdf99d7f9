"""What a configuration of bandersnatch 8 means here, option by option. Reads no tree, adopts none.

`translate` reads the file and writes `pypimirror.toml`; `mirror` knows the options of `[mirror]`,
`filters` those of its filter plug-ins, `draft` what both share.
"""
