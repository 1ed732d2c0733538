# The command line: docker build -t mamp . && docker run mamp segment --help. The page: docs/DEPLOYMENT.md.
# scripts/check_package runs these steps in a fresh environment.
FROM python:3.12-slim
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY mamp mamp
RUN python -m pip install --no-cache-dir "$(grep '^torch==' constraints.txt)" && python -m pip install --no-cache-dir -c constraints.txt .
WORKDIR /
ENTRYPOINT ["python", "-m", "mamp"]
