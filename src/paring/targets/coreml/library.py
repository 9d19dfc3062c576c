"""coremltools, without what it says of itself when it is imported: versions it was not tested with, parts for Macs."""

from paring.core.quiet import quiet

with quiet():
    import coremltools as ct
    from coremltools.converters.mil.frontend._utils import _construct_constexpr_lut_op as constexpr_lut
    from coremltools.converters.mil.frontend.milproto import load as milproto
    from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY as OPERATORS
    from coremltools.converters.mil.mil import Builder, types
    from coremltools.converters.mil.mil.scope import ScopeInfo, ScopeSource

__all__ = ["OPERATORS", "Builder", "ScopeInfo", "ScopeSource", "constexpr_lut", "ct", "milproto", "types"]
