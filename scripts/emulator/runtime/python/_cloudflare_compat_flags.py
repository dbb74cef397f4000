"""Stands in for the runtime's list of compatibility flags, as the SDK reads them: those in force at our date."""

python_workflows_implicit_dependencies = True
python_request_headers_preserve_commas = True
