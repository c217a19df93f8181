"""One module per component, each with a pure `build(...)` that returns the component's objects."""
