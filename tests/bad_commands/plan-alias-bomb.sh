echo 'a0: &a0 [x, x, x, x, x, x, x, x, x]' > plan.yaml
for level in 1 2 3 4 5 6 7 8; do
  a="*a$((level - 1))"
  echo "a$level: &a$level [$a, $a, $a, $a, $a, $a, $a, $a, $a]" >> plan.yaml
done
backhaul run plan.yaml
