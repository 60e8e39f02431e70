# Why each document is refused: an independent count for the tests. zcat off.jsonl.gz | jq -r -f count.jq | sort | uniq -c
# It checks neither codes nor letters, which all documents of the sample have.
def per: (.nutrition.aggregated_set.nutrients // {}) as $new | (.nutriments // {}) as $old
  | if ($new|length) > 0 then [$new | to_entries[] | {key: .key, value: .value.value}] | from_entries
    else [$old | to_entries[] | select(.key|endswith("_100g")) | {key: (.key|rtrimstr("_100g")), value}] | from_entries end;
per as $n | ($n["energy-kcal"] // (($n["energy-kj"] // $n.energy) | if . then ./4.184 else null end)) as $kcal
| [$n.proteins, $n.carbohydrates, $n.fat] as $m
| if ((.product_name // "") == "") then "no_name"
  elif $kcal == null then "no_energy"
  elif ($kcal|. + 0.5|floor) > 908 then "kcal_out_of_bounds"
  elif ([$m[], $n.sugars, $n["saturated-fat"], $n.fiber, ($n.salt // ($n.sodium // 0) * 2.5)] | map(. // 0) | max) >= 100.005 then "nutrient_out_of_bounds"
  elif ($m | map(. // 0) | add) > 105 then "too_many_macros"
  elif 0.8 * (4*($m[0]//0) + 9*($m[2]//0) + ($m[1]//0)) > $kcal + 10 then "more_energy_in_macros"
  elif ($m|all(. != null)) and (0.7*$kcal - 60 > 4*$m[0] + 4*$m[1] + 9*$m[2] + 2*($n.fiber//0)) then "less_energy_in_macros"
  else "accepted" end
