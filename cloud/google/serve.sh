#!/usr/bin/env bash
# The exported model on Cloud Run: the bucket's folder is mounted, the key is a secret.
#   PROJECT, REGION, REPOSITORY  as for push.sh
#   MODEL       gs://BUCKET/FOLDER/model.onnx
#   SECRET      name of the secret with the key [catdog-api-key]
#   MOST        machines at most [4]
set -euo pipefail
: "${PROJECT:?the project}" "${REGION:?the region}" "${MODEL:?the model}" "${REPOSITORY:=catdog}" "${SECRET:=catdog-api-key}" "${MOST:=4}"
place=${MODEL#gs://}

gcloud run deploy catdog --project "$PROJECT" --region "$REGION" \
  --image "$REGION-docker.pkg.dev/$PROJECT/$REPOSITORY/catdog-serve" \
  --add-volume "name=model,type=cloud-storage,bucket=${place%%/*},readonly=true" --add-volume-mount volume=model,mount-path=/model \
  --args "/model/${place#*/},--host,0.0.0.0,--port,8000" --port 8000 \
  --update-secrets "CATDOG_API_KEY=$SECRET:latest" --allow-unauthenticated \
  --cpu 2 --memory 2Gi --concurrency 64 --max-instances "$MOST"
