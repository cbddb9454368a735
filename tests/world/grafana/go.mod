// Reads dashboards as strictly as Grafana's SDK can.
module paceline.dev/test-world/grafana

go 1.24

require github.com/grafana/grafana-foundation-sdk/go v0.0.22
