#!/usr/bin/env bash
# A sweep as a Vertex AI custom job; taken away, it begins again and goes on from the bucket.
#   PROJECT, REGION, REPOSITORY  as for push.sh
#   BUCKET      gs://...: photos in BUCKET/photos, runs in BUCKET/runs
#   SETTINGS    of the sweep [arch=convnext_tiny,resnet50 seed=0,1,2]
#   MACHINE     [g2-standard-8]
#   ACCELERATOR [NVIDIA_L4]
set -euo pipefail
: "${PROJECT:?the project}" "${REGION:?the region}" "${BUCKET:?the bucket}" "${REPOSITORY:=catdog}"
: "${SETTINGS:=arch=convnext_tiny,resnet50 seed=0,1,2}" "${MACHINE:=g2-standard-8}" "${ACCELERATOR:=NVIDIA_L4}"

spec=$(mktemp)
trap 'rm -f "$spec"' EXIT
cat > "$spec" <<YAML
scheduling:
  strategy: SPOT
  restartJobOnWorkerRestart: true
workerPoolSpecs:
  - replicaCount: 1
    machineSpec: {machineType: $MACHINE, acceleratorType: $ACCELERATOR, acceleratorCount: 1}
    containerSpec:
      imageUri: $REGION-docker.pkg.dev/$PROJECT/$REPOSITORY/catdog
      args:
        - sweep
$(for word in $SETTINGS "data=$BUCKET/photos" "runs=$BUCKET/runs"; do printf '        - "%s"\n' "$word"; done)
YAML
gcloud ai custom-jobs create --project "$PROJECT" --region "$REGION" --display-name catdog-sweep --config "$spec"
