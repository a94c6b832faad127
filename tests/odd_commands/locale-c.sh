mv region-here/orders-full.xbstream.gz region-here/größe-日.gz
sed s/orders-full.xbstream.gz/größe-日.gz/ plan.yaml > plän.yaml
LANG=C LC_ALL=C backhaul -q run plän.yaml
cat region-there/größe-日.gz
