FROM python:3.11-slim
WORKDIR /srv/petool
# The CPU build of torch: models on a GPU run in vLLM, not in the service.
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md ./
COPY app app
COPY migrations migrations
COPY models models
RUN pip install --no-cache-dir .
RUN useradd --create-home petool && mkdir /data /adapters && chown petool /data /adapters
USER petool
EXPOSE 8000
CMD ["petool", "serve", "--host", "0.0.0.0"]
