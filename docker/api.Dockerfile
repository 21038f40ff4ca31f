# The HTTP face. No torch: the image is small, and a page never waits for a GPU library.
FROM python:3.11-slim
WORKDIR /app
COPY requirements/api.txt requirements/api.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/api.txt
COPY pyproject.toml setup.py README.md ARCHITECTURE.md CONTRIBUTING.md DECISIONS.md CHANGELOG.md ./
COPY docs docs
COPY cmac_core cmac_core
COPY store store
COPY api api
COPY worker worker
COPY client client
COPY migrations migrations
RUN pip install --no-cache-dir --no-deps . && useradd --create-home --uid 1000 cmac && install -d -o cmac /home/cmac/lab
USER cmac
ENV CMAC_HOME=/home/cmac/lab CMAC_API_HOST=0.0.0.0 CMAC_API_PORT=8300
EXPOSE 8300
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-m", "api", "--check"]
CMD ["python", "-m", "api"]
