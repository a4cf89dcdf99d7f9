import zipfile
class V: pass
def check_structure(path, filename, project):
    from pypimirror.model import Problem, Reason
    from pypimirror.verify.wheels import read_metadata
    v=V(); v.proof="structure"; v.problem=None; v.metadata=read_metadata(path) if filename.endswith('.whl') else None
    if b'BAD' in path.read_bytes(): v.problem=Problem(Reason.BAD_ARCHIVE,"bad")
    return v
