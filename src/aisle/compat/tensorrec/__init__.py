"""The interface of TensorRec 0.26.2 on this library: change the imports of a script, keep the rest.

    from aisle.compat import tensorrec                           # was: import tensorrec
    from aisle.compat.tensorrec.loss_graphs import WMRBLossGraph

    model = tensorrec.TensorRec(n_components=64, loss_graph=WMRBLossGraph())
    model.fit(interactions, user_features, item_features, n_sampled_items=100, learning_rate=0.01)
    ranks = model.predict_rank(user_features, item_features)

docs/tensorrec.md says how to move, what differs and why.
"""

from aisle.compat.tensorrec import (
    errors,
    eval,
    input_utils,
    loss_graphs,
    prediction_graphs,
    recommendation_graphs,
    representation_graphs,
    session_management,
    util,
)
from aisle.compat.tensorrec.tensorrec import TensorRec

__version__ = "0.26.2"
"""The version of TensorRec whose interface this is."""
__all__ = [
    "TensorRec",
    "errors",
    "eval",
    "input_utils",
    "loss_graphs",
    "prediction_graphs",
    "recommendation_graphs",
    "representation_graphs",
    "session_management",
    "util",
]
