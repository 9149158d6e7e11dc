"""A Django project with a Celery worker, for processes that tests start; what changes comes from the environment."""
