"""What a person sees: the widget, the plotly figure, and the static and text forms."""
