"""What crosses a border: pickles between processes, and later the REST contract."""
