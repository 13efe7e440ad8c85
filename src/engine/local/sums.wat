;; A row of sums a x + b y + c z, each computed in float64 and rounded once. No functions within: calls are not inlined.
(module
  (import "rows" "memory" (memory 1))

  ;; In memory are x, y, z and the result, one behind the other, each of `bytes` bytes, a multiple of 16 that is not 0.
  (func (export "sum") (param $bytes i32) (param $a f64) (param $b f64) (param $c f64)
    (local $x i32) (local $y i32) (local $z i32) (local $end i32)
    (local $xs v128) (local $ys v128) (local $zs v128) (local $as v128) (local $bs v128) (local $cs v128) (local $low v128)
    (local.set $as (f64x2.splat (local.get $a)))
    (local.set $bs (f64x2.splat (local.get $b)))
    (local.set $cs (f64x2.splat (local.get $c)))
    (local.set $y (local.get $bytes))
    (local.set $z (i32.mul (local.get $bytes) (i32.const 2)))
    (local.set $end (i32.mul (local.get $bytes) (i32.const 3)))
    (loop $next
      (local.set $xs (v128.load (local.get $x)))
      (local.set $ys (v128.load (local.get $y)))
      (local.set $zs (v128.load (local.get $z)))
      (local.set $low
        (f32x4.demote_f64x2_zero
          (f64x2.add
            (f64x2.add
              (f64x2.mul (local.get $as) (f64x2.promote_low_f32x4 (local.get $xs)))
              (f64x2.mul (local.get $bs) (f64x2.promote_low_f32x4 (local.get $ys))))
            (f64x2.mul (local.get $cs) (f64x2.promote_low_f32x4 (local.get $zs))))))
      ;; The high two of four take the place of the low.
      (local.set $xs (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $xs) (local.get $xs)))
      (local.set $ys (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $ys) (local.get $ys)))
      (local.set $zs (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $zs) (local.get $zs)))
      (v128.store
        (local.get $end)
        (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
          (local.get $low)
          (f32x4.demote_f64x2_zero
            (f64x2.add
              (f64x2.add
                (f64x2.mul (local.get $as) (f64x2.promote_low_f32x4 (local.get $xs)))
                (f64x2.mul (local.get $bs) (f64x2.promote_low_f32x4 (local.get $ys))))
              (f64x2.mul (local.get $cs) (f64x2.promote_low_f32x4 (local.get $zs)))))))
      (local.set $x (i32.add (local.get $x) (i32.const 16)))
      (local.set $y (i32.add (local.get $y) (i32.const 16)))
      (local.set $z (i32.add (local.get $z) (i32.const 16)))
      (local.set $end (i32.add (local.get $end) (i32.const 16)))
      (br_if $next (i32.lt_u (local.get $x) (local.get $bytes))))))
