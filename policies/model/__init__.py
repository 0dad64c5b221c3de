"""From a policy's source to a model that trains: loading, chat templates, adapters, memory."""
