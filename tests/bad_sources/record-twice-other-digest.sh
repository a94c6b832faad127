record 1
record 1
sed -i '2s|"sha256":"a968|"sha256":"0968|' region-here/.backhaul/records/*.ndjson
wants '{ id: 20000000-0000-4000-8000-000000000001, from: here, to: [there] }'
backhaul -q run plan.yaml
