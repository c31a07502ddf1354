"""Keys that people bring from Argo Rollouts, Flagger, Kayenta and Seldon, and what to write here instead."""

from __future__ import annotations

_SHADOW = "a mirror is a step here: shadow: {percent: 100}"
_STEPS = "list the weights as steps: setWeight: 5, setWeight: 25, …"
_VERDICT = "a verdict holds whenever it is looked at, so nothing is counted in checks: see until.min_units and until.max_duration"
_QUERY = "a metric of type query takes server and query (PromQL), and below or above"
_MARGIN = "how much worse is good enough stands in pass_if: {ratio: 1.5, or_abs: 0.005}"
_UNIT = "whose requests stay together stands in spec.unit: {from: [header:x-user-id]}"
_SCALE = "all versions are served by the same processes, so there is nothing to scale"
_NOTIFY = "write notifications: [{url: https://…, secretFile: /…, on: [failed]}]"
_TARGET = "what is tried stands in spec.candidate: {version: 13}"
_WARM = "how long the old version is kept stands in spec.keep_stable_warm"
_GATE = "people agree in a step: approve: {count: 2}"
_NO_DATA = "without data the verdict is NO_DATA, which never passes"
_AB = "a comparison of versions is strategy.ab: {arms: [{name: b, version: 13, weight: 50}]}"

HINTS = {
    # Argo Rollouts
    "canary": "steps stand directly under strategy",
    "blueGreen": "write bluegreen",
    "template": _TARGET, "workloadRef": _TARGET, "selector": _TARGET,
    "replicas": _SCALE, "setCanaryScale": _SCALE, "maxSurge": _SCALE, "maxUnavailable": _SCALE, "scaleDownDelaySeconds": _WARM,
    "abortScaleDownDelaySeconds": _WARM,
    "setMirrorRoute": _SHADOW,
    "setHeaderRoute": "callers choose an arm by the header tidegate-arm: stable or candidate",
    "trafficRouting": "the gateway splits by itself, by spec.unit",
    "experiment": _AB,
    "templates": "metrics stand in spec.analysis.metrics, and a step asks for a verdict with until",
    "templateName": "metrics stand in spec.analysis.metrics, and a step asks for a verdict with until",
    "args": "metrics stand in spec.analysis.metrics",
    "startingStep": "metrics count from the first step with traffic on",
    "progressDeadlineSeconds": "write until: {max_duration: 24h} in the step",
    "progressDeadlineAbort": "write until: {on_inconclusive: rollback} in the step",
    "rollbackWindow": "write rollback_window: 3",
    "revisionHistoryLimit": "the registry keeps every version",
    "autoPromotionEnabled": _GATE,
    "prePromotionAnalysis": "write bluegreen: {shadow: {}, until: {…}}",
    "postPromotionAnalysis": "write bluegreen: {bake: {verdict: null, min_duration: 10m}}",
    "successCondition": _MARGIN, "failureCondition": "from where on worse is a failure stands in tolerate: {ratio: 1.0}",
    "failureLimit": _VERDICT, "consecutiveErrorLimit": _VERDICT, "consecutiveSuccessLimit": _VERDICT, "inconclusiveLimit": _VERDICT,
    "initialDelay": "what is not counted at the begin stands in spec.analysis.warmup",
    "provider": _QUERY, "prometheus": _QUERY, "address": _QUERY,
    # Flagger
    "targetRef": _TARGET,
    "interval": _VERDICT, "threshold": _VERDICT, "iterations": _VERDICT,
    "maxWeight": _STEPS, "stepWeight": _STEPS, "stepWeights": _STEPS, "stepWeightPromotion": _STEPS,
    "mirror": _SHADOW, "mirrorWeight": _SHADOW,
    "match": "callers choose an arm by the header tidegate-arm: stable or candidate",
    "sessionAffinity": _UNIT, "cookieName": _UNIT,
    "thresholdRange": _MARGIN, "templateRef": _QUERY,
    "webhooks": _NOTIFY, "alerts": _NOTIFY,
    "skipAnalysis": "a step that asks for no verdict is until: {verdict: null, min_duration: 10m}",
    "suspend": "a rollout is paused by `tidegate rollout pause`",
    # Kayenta
    "direction": "more of what is counted is worse, always",
    "nanStrategy": _NO_DATA, "mustHaveData": _NO_DATA,
    "effectSize": _MARGIN, "muted": "write dryRun: true", "analysisType": "write critical: true where a failure rolls back",
    "judge": "there is one: see spec.analysis",
    # Seldon Core
    "candidates": _AB, "stickySessions": _UNIT,
    # earlier sketches of this format
    "salt": "it is drawn when the rollout begins, and stands in its journal",
    "on_restart": "a rollout always resumes where it was",
    "secretRef": "write secretFile: /path, of a file that the servers can read",
    "edges": "buckets of latency are chosen by the product",
    "bins": "bins are those of the model's classes, or of its reference profile",
    "groups": "who may agree stands in by",
}  # fmt: skip
