#!/usr/bin/env bash
# Both images into Google's Artifact Registry.
#   PROJECT     the project's id
#   REGION      such as europe-west4
#   REPOSITORY  of the Artifact Registry; made if it is not there [catdog]
#   TORCH_INDEX index of torch's wheels; for GPUs one that ends in /cu126 [that for processors]
set -euo pipefail
: "${PROJECT:?the project}" "${REGION:?the region}" "${REPOSITORY:=catdog}"
place="$REGION-docker.pkg.dev/$PROJECT/$REPOSITORY"

gcloud artifacts repositories describe "$REPOSITORY" --project "$PROJECT" --location "$REGION" >/dev/null 2>&1 ||
  gcloud artifacts repositories create "$REPOSITORY" --project "$PROJECT" --location "$REGION" --repository-format docker
gcloud auth configure-docker "$REGION-docker.pkg.dev" --quiet
docker build --target serve -t "$place/catdog-serve" .
docker build --target train ${TORCH_INDEX:+--build-arg "TORCH_INDEX=$TORCH_INDEX"} -t "$place/catdog" .
docker push "$place/catdog-serve"
docker push "$place/catdog"
