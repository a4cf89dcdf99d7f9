"""Translates a configuration of bandersnatch 8, option by option. It does not touch the tree.

`translate` reads the file and makes the text of `pypimirror.toml`. `mirror` knows the options of
`[mirror]`, `filters` those of the filter plug-ins. `draft` has what both share.
"""
