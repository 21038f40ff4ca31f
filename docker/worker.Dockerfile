# One per GPU machine: Celery consumer, node loop, control loops and the trainings themselves.
FROM nvidia/cuda:13.0.2-base-ubuntu24.04
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv git && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /app
COPY requirements/worker.txt requirements/worker.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/worker.txt
COPY pyproject.toml setup.py README.md ARCHITECTURE.md CONTRIBUTING.md DECISIONS.md CHANGELOG.md ./
COPY docs docs
COPY cmac_core cmac_core
COPY store store
COPY api api
COPY worker worker
COPY client client
COPY migrations migrations
RUN pip install --no-cache-dir --no-deps . && (userdel --remove ubuntu || true) && useradd --create-home --uid 1000 cmac && install -d -o cmac /home/cmac/lab
USER cmac
ENV CMAC_HOME=/home/cmac/lab
CMD ["python", "-m", "worker"]
