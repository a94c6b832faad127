record 1
sed -i 's|"bytes":8|"bytes":8,"size":1e309|' region-here/.backhaul/records/*.ndjson
wants '{ id: 20000000-0000-4000-8000-000000000001, from: here, to: [there] }'
backhaul -q run plan.yaml
