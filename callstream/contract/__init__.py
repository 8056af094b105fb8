"""What crosses a process boundary: messages, topics, headers and ids."""
