"""Reports: `backbeat stats`, `top` and `report`."""
