// Prints whatever it is asked to.
import { serve } from './http.mjs';

serve(() => ({ printed: true }));
