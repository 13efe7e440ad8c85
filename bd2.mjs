import { Pipeline } from './dist/index.js';
import { parseDevices } from './dist/engine/device.js';
let net=0,n=0;
const p = await Pipeline.open(undefined, { devices: parseDevices(process.argv[2]), onBatch: (r) => { if (!r.graph.startsWith('text')) net += r.seconds; if(r.graph==='unet')n++; } });
const med=a=>a.sort((x,y)=>x-y)[a.length>>1];
for (const N of [25,100]) for (const sampler of ['serial','srds','picard']) {
  const A={e:[],s:[],d:[],i:[],b:[],o:[]};
  for (let i = 0; i < 12; i++) { net=0;n=0; const r=await p.generate({ prompt: 'a red ball on the beach', seed:i, steps:N, sampler, previews: false, ...(sampler==='picard'?{window:32}:{}) }).result; if(i>1){A.e.push(r.seconds.encode*1000);A.s.push(r.seconds.sample*1000);A.d.push(r.seconds.decode*1000);A.i.push(100*net/(r.seconds.sample+r.seconds.decode));A.b.push(n);A.o.push((1000*(r.seconds.sample+r.seconds.decode-net))/n);} await new Promise(r=>setTimeout(r,30)); }
  console.log(`${sampler} N=${N}: encode ${med(A.e).toFixed(1)} sample ${med(A.s).toFixed(1)} decode ${med(A.d).toFixed(1)} ms, inside ${med(A.i).toFixed(1)} %, batches ${med(A.b)}, outside per batch ${med(A.o).toFixed(2)} ms`);
}
await p.close();
