"""Load of a drill: payments asked for over three ways in, and the journals of what came of them."""
